from __future__ import annotations

import multiprocessing
import urllib.error
from pathlib import Path

import pytest

from adaptertune_deploy.core.errors import DatasetError
from adaptertune_deploy.data import downloads

HINT = "looked for thing/a: get it by hand"


def complete(folder: Path) -> bool:
    return (folder / "a").is_file() and (folder / "b").is_file()


def fetch(stage: Path) -> None:
    """Behave as torchvision does: a folder, its archive, what was in it, and one line in a log."""
    (stage / "thing").mkdir(parents=True, exist_ok=True)
    for name in ("all.tar.gz", "a", "b"):
        (stage / "thing" / name).write_text(name)
    with (stage.parent.parent / "log").open("a") as log:
        log.write("downloaded\n")


def listing(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*"))


def test_a_dataset_that_is_there_is_not_touched(tmp_path: Path) -> None:
    fetch(tmp_path / "data" / "stage")
    before = listing(tmp_path)
    downloads.ensure("x", tmp_path / "data" / "stage", "thing", complete, lambda _: pytest.fail("downloaded"), HINT)
    assert listing(tmp_path) == before


def test_a_download_leaves_the_dataset_and_nothing_else(tmp_path: Path) -> None:
    downloads.ensure("x", tmp_path / "data", "thing", complete, fetch, HINT)
    assert listing(tmp_path / "data") == ["thing", "thing/a", "thing/b"]


@pytest.mark.parametrize(
    "error",
    [
        urllib.error.URLError("no route\nto host"),
        RuntimeError("File not found or corrupted."),
        OSError(28, "No space left on device"),
        TimeoutError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_failure_is_one_line_and_leaves_no_trace(tmp_path: Path, error: Exception) -> None:
    def fail(stage: Path) -> None:
        (stage / "thing").mkdir(parents=True)
        raise error

    with pytest.raises(DatasetError) as caught:
        downloads.ensure("x", tmp_path / "data" / "x", "thing", complete, fail, HINT)
    message = str(caught.value)
    assert message.startswith(f"x: not found in {tmp_path / 'data' / 'x'} and not downloadable (")
    assert message.endswith(f"); {HINT}")
    assert "\n" not in message
    assert "Traceback" not in message
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert listing(tmp_path) == []


def test_a_failure_leaves_what_others_have_put_beside_it(tmp_path: Path) -> None:
    def fail(stage: Path) -> None:
        (tmp_path / "data" / "other").mkdir()
        raise TimeoutError

    with pytest.raises(DatasetError, match="TimeoutError"):
        downloads.ensure("x", tmp_path / "data" / "x", "thing", complete, fail, HINT)
    assert listing(tmp_path) == ["data", "data/other"]


def test_an_archive_that_arrived_survives_a_failure_for_the_next_attempt(tmp_path: Path) -> None:
    def half(stage: Path) -> None:
        (stage / "thing").mkdir(parents=True)
        (stage / "thing" / "first.tar.gz").write_text("whole")
        raise urllib.error.URLError("gone")

    with pytest.raises(DatasetError):
        downloads.ensure("x", tmp_path / "data", "thing", complete, half, HINT)
    assert listing(tmp_path / "data") == [".x.download", ".x.download/thing", ".x.download/thing/first.tar.gz"]
    downloads.ensure("x", tmp_path / "data", "thing", complete, fetch, HINT)
    assert listing(tmp_path / "data") == ["thing", "thing/a", "thing/b"]


def test_an_incomplete_folder_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "data" / "thing").mkdir(parents=True)
    (tmp_path / "data" / "thing" / "a").write_text("mine")
    with pytest.raises(DatasetError, match="incomplete; remove it first"):
        downloads.ensure("x", tmp_path / "data", "thing", complete, fetch, HINT)
    assert (tmp_path / "data" / "thing" / "a").read_text() == "mine"


def test_the_folder_above_is_pointed_out_instead_of_a_download(tmp_path: Path) -> None:
    fetch(tmp_path / "x")
    with pytest.raises(DatasetError, match=f"use --data-dir {tmp_path / 'x'}"):
        downloads.ensure("x", tmp_path, "thing", complete, lambda _: pytest.fail("downloaded"), HINT)


def test_two_processes_download_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(2)
    processes = [context.Process(target=_ask, args=(tmp_path / "data", start)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert (tmp_path / "log").read_text() == "downloaded\n"
    assert listing(tmp_path / "data") == ["thing", "thing/a", "thing/b"]


def _ask(root: Path, start: multiprocessing.synchronize.Barrier) -> None:
    start.wait(60)
    downloads.ensure("x", root, "thing", complete, fetch, HINT)


def test_a_missing_module_is_named_with_the_extra_that_holds_it() -> None:
    downloads.require("flowers", "numpy")
    with pytest.raises(
        DatasetError, match=r"flowers: needs no_such_module; install it with: .*adaptertune-deploy\[train\]"
    ):
        downloads.require("flowers", "numpy", "no_such_module")
    with pytest.raises(DatasetError, match="pcam: needs no_such_module; install it with: pip install 'h5py'"):
        downloads.require("pcam", "no_such_module", install="h5py")


def fetch_files(stage: Path) -> None:
    """Behave as torchvision does with a dataset that has no folder of its own."""
    stage.mkdir(parents=True, exist_ok=True)
    for name in ("a", "b"):
        (stage / name).write_text("new")


def test_files_without_a_folder_come_to_lie_in_the_data_folder(tmp_path: Path) -> None:
    downloads.ensure("x", tmp_path / "data", "", complete, fetch_files, HINT)
    assert listing(tmp_path / "data") == ["a", "b"]


def test_files_that_are_there_already_stay(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("mine")
    downloads.ensure("x", tmp_path, "", complete, fetch_files, HINT)
    assert listing(tmp_path) == ["a", "b"]
    assert [(tmp_path / name).read_text() for name in "ab"] == ["mine", "new"]


@pytest.mark.parametrize("archive", ["all.zip", "all.tgz", "all.tar", "raw/train.gz"])
def test_archives_are_not_kept(tmp_path: Path, archive: str) -> None:
    def with_archive(stage: Path) -> None:
        fetch(stage)
        (stage / "thing" / archive).parent.mkdir(exist_ok=True)
        (stage / "thing" / archive).write_text("packed")

    downloads.ensure("x", tmp_path / "data", "thing", complete, with_archive, HINT)
    assert not (tmp_path / "data" / "thing" / archive).exists()
    assert complete(tmp_path / "data" / "thing")


def test_the_dataset_s_own_folder_is_pointed_out(tmp_path: Path) -> None:
    fetch(tmp_path)
    with pytest.raises(DatasetError, match=f"use --data-dir {tmp_path}$"):
        downloads.ensure("x", tmp_path / "thing", "thing", complete, lambda _: pytest.fail("downloaded"), HINT)
