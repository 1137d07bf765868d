"""export.plan: what an export refuses before torch is imported."""

from __future__ import annotations

import dataclasses
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from adaptertune_deploy.core.adapter import samples
from adaptertune_deploy.core.errors import ExportError, FormatError, UsageError
from adaptertune_deploy.engines.options import EngineOptions
from adaptertune_deploy.export.plan import plan_export, read_old
from tests.builders import (
    encode,
    make_backbone_spec,
    make_image,
    make_preprocess_spec,
    make_task,
    make_widths,
    write_adapter,
    write_bundle,
)


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """Two trained tasks with one image in a folder beside them."""
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(encode(make_image()))
    made = []
    for name, blocks in (("pets", (0, 2)), ("birds", (1, 2))):
        write_adapter(tmp_path / "adapters" / name, make_task(name, blocks=blocks))
        made.append(tmp_path / "adapters" / name)
    return made


def test_a_plan_holds_what_was_read(tmp_path: Path, folders: list[Path]) -> None:
    plan = plan_export(folders, tmp_path / "bundle", images=tmp_path / "images")
    assert [source.config.task.name for source in plan.sources] == ["pets", "birds"]
    assert plan.slots == (0, 1, 2)
    assert plan.images == (tmp_path / "images" / "a.png",)
    assert not (tmp_path / "bundle").exists()


def test_nested_adapters_are_cut_and_smaller_ones_stay(tmp_path: Path, folders: list[Path]) -> None:
    write_adapter(tmp_path / "adapters" / "cats", make_task("cats", rank=8), widths=make_widths(1, 2, 4, 8))
    folders.append(tmp_path / "adapters" / "cats")
    plan = plan_export(folders, tmp_path / "bundle", images=tmp_path / "images", rank=4)
    assert [(source.adapter.task.adapter.rank, source.ship) for source in plan.sources] == [
        (2, None),
        (2, None),
        (4, "adapter-4"),
    ]
    assert [source.cost is not None for source in plan.sources] == [False, False, True]
    with pytest.raises(UsageError, match="--rank 1: task 'pets' has rank 2 and is not nested"):
        plan_export(folders, tmp_path / "bundle", images=tmp_path / "images", rank=1)


def test_it_needs_neither_torch_nor_onnx(tmp_path: Path, folders: list[Path]) -> None:
    code = (
        "import sys; from pathlib import Path; sys.modules.update(dict.fromkeys(('torch', 'timm', 'onnx')));"
        "from adaptertune_deploy.export.plan import plan_export;"
        "print(plan_export([Path('adapters/pets')], Path('bundle'), images=Path('images')).slots)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("(0, 2)\n", "")


def test_nothing_to_export_is_a_usage_error(tmp_path: Path, folders: list[Path]) -> None:
    out = tmp_path / "bundle"
    with pytest.raises(UsageError, match="no adapter to export"):
        plan_export([], out)
    with pytest.raises(UsageError, match="neither form"):
        plan_export(folders, out, shared=False)
    with pytest.raises(UsageError, match=r"task 'pets' is in .*pets, .*pets; export one of them"):
        plan_export([folders[0], folders[0]], out)
    with pytest.raises(UsageError, match="device 'gpu'"):
        plan_export(folders, out, engine=EngineOptions(device="gpu"))
    with pytest.raises(UsageError, match=r"--out /proc/bundle: can't be written"):
        plan_export(folders, Path("/proc/bundle"))


def test_a_folder_that_is_no_bundle_is_never_written_into(tmp_path: Path, folders: list[Path]) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match="is a file, expected a folder"):
        plan_export(folders, tmp_path / "file")
    with pytest.raises(
        ExportError, match=r"holds something else than a bundle \(.*\); empty it or choose another --out"
    ):
        read_old(tmp_path)
    (tmp_path / "photos" / "deep").mkdir(parents=True)
    with pytest.raises(ExportError, match=r"holds something else than a bundle \(deep\); empty it or choose another"):
        read_old(tmp_path / "photos")
    (tmp_path / "project").mkdir()
    (tmp_path / "adapters").rename(tmp_path / "project" / "adapters")
    with pytest.raises(ExportError, match=r"holds something else than a bundle \(adapters/\w+\)"):
        read_old(tmp_path / "project")
    (tmp_path / "manifest.json").write_text('{"name": "a web page, say"}')
    with pytest.raises(ExportError, match=r"format_version is None.*; remove that bundle or choose another --out"):
        read_old(tmp_path)


def test_an_empty_folder_and_leftovers_of_a_killed_first_export_are_taken(tmp_path: Path) -> None:
    (tmp_path / "bundle" / "adapters").mkdir(parents=True)
    assert read_old(tmp_path / "bundle") is None
    (tmp_path / "bundle" / "adapters" / "pets-0badcafe.safetensors").touch()
    (tmp_path / "bundle" / ".lock").touch()
    assert read_old(tmp_path / "bundle") is None
    assert read_old(tmp_path / "absent") is None


def test_what_would_be_dropped_is_named(tmp_path: Path, folders: list[Path]) -> None:
    out = tmp_path / "bundle"
    write_bundle(out)  # holds pets
    plan_export(folders, out, images=tmp_path / "images")
    with pytest.raises(UsageError) as refused:
        plan_export(folders[1:], out, images=tmp_path / "images")
    # No command that writes elsewhere than this one does: what it names is this bundle, or is left as it was typed.
    assert str(refused.value) == (
        f"{out}: this export would drop task pets; keep all by naming all, add tasks with: "
        f"atd add ADAPTER --bundle {shlex.quote(str(out))}, or let them go: the same command with --replace"
    )
    plan_export(folders[1:], out, images=tmp_path / "images", replace=True)


def test_tasks_of_two_backbones_name_the_odd_one(tmp_path: Path, folders: list[Path]) -> None:
    write_adapter(tmp_path / "odd", make_task("odd"), make_backbone_spec(sha256="0" * 64))
    for order in ([tmp_path / "odd", *folders], [*folders, tmp_path / "odd"]):
        with pytest.raises(FormatError, match=r"task 'odd' was trained on .*000000000000.*bundle of its own"):
            plan_export(order, tmp_path / "bundle")
    smaller = dataclasses.replace(make_preprocess_spec(), crop_pct=0.5)
    write_adapter(tmp_path / "crop", make_task("crop"), preprocess=smaller)
    with pytest.raises(FormatError, match=r"task 'crop' was trained on images prepared otherwise.*crop_pct 0\.5"):
        plan_export([tmp_path / "crop", *folders], tmp_path / "bundle")


def test_a_plan_holds_the_candidate_that_ships(tmp_path: Path, folders: list[Path]) -> None:
    write_adapter(folders[0], make_task("pets", blocks=(0, 2)), ships="head", probe_temperature=2.0)
    out, images = tmp_path / "bundle", tmp_path / "images"
    for ship, words, slots in (
        (None, ["head only", "rank 2"], (1, 2)),
        ("adapter", ["rank 2", "rank 2"], (0, 1, 2)),
        ("head", ["head only", "head only"], (0, 1, 2, 3)),
    ):
        plan = plan_export(folders, out, images=images, ship=ship)
        assert [source.adapter.task.adapter.words for source in plan.sources] == words
        assert plan.slots == slots


def test_the_adapter_of_a_task_of_rank_0_can_not_be_exported(tmp_path: Path, folders: list[Path]) -> None:
    write_adapter(folders[1], make_task("birds", rank=0))
    with pytest.raises(UsageError, match="task 'birds' was trained with rank 0 and has no adapter to ship") as caught:
        plan_export(folders, tmp_path / "bundle", images=tmp_path / "images", ship="adapter")
    assert "\n" not in str(caught.value)


def test_values_that_overflow_are_found_before_torch(tmp_path: Path) -> None:
    write_adapter(tmp_path / "loud", make_task("loud", alpha=3e38))
    with pytest.raises(FormatError, match=r"'loud': alpha .* overflows float32"):
        plan_export([tmp_path / "loud"], tmp_path / "bundle")


def test_no_images_to_verify_on_is_an_error(tmp_path: Path, folders: list[Path]) -> None:
    with pytest.raises(ExportError, match=f"{samples.SAMPLES_NAME}/ nor on this machine; .*--images DIR"):
        plan_export(folders, tmp_path / "bundle")
    assert sorted(os.listdir(tmp_path)) == ["adapters", "images"]
