"""train.request.destination: a place is found wanting before any work, and nothing is replaced unsaid."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from adaptertune_deploy.core.adapter import folder as adapters
from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.core.storage import files
from adaptertune_deploy.train.request.destination import check_destination
from tests.builders import make_task, write_adapter
from tests.data.builders import make_folder


def test_an_empty_place_is_free_and_stays_empty(tmp_path: Path) -> None:
    assert check_destination(tmp_path / "a" / "b", "trees") == ()
    assert list(tmp_path.iterdir()) == []


def test_another_persons_folder_is_not_replaced(tmp_path: Path) -> None:
    make_folder(tmp_path / "trees", {"ash": 1})
    with pytest.raises(
        UsageError, match=r"trees exists and is no adapter folder; move it away, or choose another --task"
    ):
        check_destination(tmp_path, "trees")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UsageError, match=r"--out .*file: is a file, expected a folder"):
        check_destination(tmp_path / "file", "trees")
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(UsageError, match="link exists and is no adapter folder"):
        check_destination(tmp_path, "link")


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(files, "check_writable", lambda *args: asked.append(args))
    check_destination(tmp_path / "out", "trees")
    assert asked == [(tmp_path / "out", "--out", 32_000_000)]


def test_a_link_to_nothing_is_no_place(tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to(tmp_path / "gone")
    with pytest.raises(UsageError, match="--out"):
        check_destination(tmp_path / "out", "trees")


@pytest.mark.parametrize("out", [".", "adapters", "deep/adapters"])
def test_a_place_in_the_dataset_is_refused(tmp_path: Path, out: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make_folder(tmp_path / "photos", {"ash": 1, "elm": 1})
    monkeypatch.chdir(tmp_path / "photos")
    with pytest.raises(UsageError, match=r"--out .*: lies in the dataset's folder \., where the next run"):
        check_destination(Path(out), "photos", Path())
    assert sorted(path.name for path in Path().iterdir()) == ["ash", "elm"]
    assert check_destination(Path("../adapters"), "photos", Path()) == ()


def test_an_adapter_that_will_be_replaced_is_described(tmp_path: Path) -> None:
    write_adapter(tmp_path / "pets", make_task("pets", rank=2))
    assert check_destination(tmp_path, "birds") == ()
    (sentence,) = check_destination(tmp_path, "pets")
    assert sentence == (
        f"{tmp_path / 'pets'} will be replaced (rank 2, 75.0 % of 20 test images, trained on squares, backbone "
        f"vit_tiny_patch16_224.random); to keep it: --task NAME, or cp -r {tmp_path / 'pets'} FOLDER first"
    )


def test_one_that_ships_its_head_or_has_no_scores_is_described_by_what_it_has(tmp_path: Path) -> None:
    write_adapter(tmp_path / "pets", ships="head")
    config = adapters.read_config(tmp_path / "pets")
    adapters.write_config(tmp_path / "pets", dataclasses.replace(config, metrics={"test_top1_shipped": 0.5}))
    assert "(head only, 50.0 % of 20 test images, trained on" in check_destination(tmp_path, "pets")[0]
    adapters.write_config(tmp_path / "pets", dataclasses.replace(config, metrics={}))
    assert "(head only, trained on" in check_destination(tmp_path, "pets")[0]


def test_a_damaged_adapter_may_be_replaced_too(tmp_path: Path) -> None:
    write_adapter(tmp_path / "pets")
    (tmp_path / "pets" / adapters.CONFIG_NAME).write_text("{")
    (sentence,) = check_destination(tmp_path, "pets")
    assert sentence.startswith(f"{tmp_path / 'pets'} will be replaced; it can't be read (")


def test_leftovers_of_a_killed_run_are_removed_and_named(tmp_path: Path) -> None:
    write_adapter(tmp_path / "pets")
    (tmp_path / ".pets.new.abcd1234" / "report").mkdir(parents=True)
    removed, replaced = check_destination(tmp_path, "pets")
    assert removed == f"removed {tmp_path / '.pets.new.abcd1234'}, which a killed run had left behind"
    assert "will be replaced" in replaced
    assert [path.name for path in tmp_path.iterdir()] == ["pets"]
