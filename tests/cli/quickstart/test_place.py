from __future__ import annotations

from pathlib import Path

import pytest

from adaptertune_deploy.cli.quickstart import place
from adaptertune_deploy.core.bundle.folder import write_manifest
from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.model.names import EMBEDDED_BACKBONE
from tests.builders import make_adapter, make_backbone_spec, make_task, write_adapter, write_bundle

TASKS = ("digits", "shapes")
EMBEDDED = make_backbone_spec(name=EMBEDDED_BACKBONE)


def make_former(out: Path) -> Path:
    """Make a folder as a quickstart leaves it, with what a killed one leaves beside its folders."""
    for task in TASKS:
        write_adapter(out / "adapters" / task, make_task(task), EMBEDDED)
    held = [make_adapter(make_task(task), EMBEDDED) for task in TASKS]
    write_bundle(out / "bundle", held, backbone=EMBEDDED)
    (out / "adapters" / ".digits.new.abcd1234").mkdir()
    (out / "adapters" / ".shapes.lock").touch()
    return out


def test_a_new_folder_is_free_and_not_made_yet(tmp_path: Path) -> None:
    assert place.prepare(tmp_path / "quickstart", TASKS) == ()
    assert not (tmp_path / "quickstart").exists()


def test_a_former_quickstart_may_be_replaced_and_is_named(tmp_path: Path) -> None:
    out = make_former(tmp_path / "quickstart")
    assert place.prepare(out, TASKS) == (f"{out}/ holds a former quickstart; its adapters and its bundle are replaced",)


def foreign_file(out: Path) -> None:
    (out / "thesis.txt").write_text("years of work")


def foreign_adapter(out: Path) -> None:
    write_adapter(out / "adapters" / "pets", make_task("pets"))


def own_digits(out: Path) -> None:
    write_adapter(out / "adapters" / "digits", make_task("digits"))


def foreign_task(out: Path) -> None:
    held = [make_adapter(make_task(task), EMBEDDED) for task in ("digits", "pets")]
    write_bundle(out / "bundle", held, backbone=EMBEDDED)


def own_bundle(out: Path) -> None:
    write_bundle(out / "bundle", [make_adapter(make_task("digits"))])


def no_bundle(out: Path) -> None:
    (out / "bundle" / "manifest.json").write_text("{}")


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (foreign_file, "thesis.txt"),
        (foreign_adapter, "adapters/pets"),
        (own_digits, "adapters/digits"),
        (foreign_task, "the task 'pets' in bundle/"),
        (own_bundle, "bundle/"),
        (no_bundle, "bundle/"),
    ],
)
def test_what_no_quickstart_made_is_left_alone(tmp_path: Path, spoil: object, found: str) -> None:
    out = make_former(tmp_path / "quickstart")
    assert callable(spoil)
    spoil(out)
    with pytest.raises(UsageError) as refused:
        place.prepare(out, TASKS)
    assert str(refused.value) == (
        f"--out {out}: holds {found}, which no quickstart made; give another folder: --out FOLDER"
    )


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    with pytest.raises(UsageError, match="holds no folder but a file"):
        place.prepare(tmp_path / "x", TASKS)


def test_a_place_that_cant_be_written_is_found(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="--out"):
        place.prepare(tmp_path / "file" / "quickstart", TASKS)


def test_an_interrupt_names_the_finished_parts(tmp_path: Path) -> None:
    out = tmp_path / "quickstart"
    finished = place.finished(out, TASKS)
    assert finished() == "nothing was written"
    write_adapter(out / "adapters" / "digits", make_task("digits"))
    assert finished() == f"{out}/adapters/digits is finished, the rest is not"
    write_adapter(out / "adapters" / "shapes", make_task("shapes"))
    manifest = write_bundle(out / "bundle", [])
    everything = f"{out}/adapters/digits and {out}/adapters/shapes and {out}/bundle are finished"
    assert finished() == everything
    again = place.finished(out, TASKS)
    assert again() == "nothing was written"
    write_manifest(out / "bundle", manifest)
    assert again() == f"{out}/bundle is finished, the rest is not"
