from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from adaptertune_deploy.core.errors import AtdError, FormatError, UsageError
from adaptertune_deploy.export.targets.table import check_target, write_target
from tests.export.targets.triton.repository import copy_bundle


def test_an_unknown_target(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no target 'tritn', only triton\. Did you mean 'triton'\?"):
        check_target("tritn", tmp_path / "out")


def test_a_folder_with_something_else_in_it(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    check_target("triton", tmp_path / "out")
    (tmp_path / "out" / "thesis.txt").write_text("x")
    with pytest.raises(UsageError, match=r"out: holds something else \(thesis.txt\), which would be lost"):
        check_target("triton", tmp_path / "out")
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file, expected a folder"):
        check_target("triton", tmp_path / "file")


@pytest.mark.parametrize("name", ["README.md", "shared/precious.txt", "merged/precious.txt"])
def test_files_of_a_person_under_the_names_of_a_target(tmp_path: Path, name: str) -> None:
    (tmp_path / "out" / name).parent.mkdir(parents=True)
    (tmp_path / "out" / name).write_text("mine")
    with pytest.raises(UsageError, match=rf"out: holds something else \({re.escape(name)}\), which would be lost"):
        write_target("triton", copy_bundle(tmp_path), tmp_path / "out")
    assert (tmp_path / "out" / name).read_text() == "mine"


def test_a_folder_that_can_not_be_exchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out" / "deep").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "out" / "deep")
    for folder in (Path(), Path(".."), tmp_path / "out", Path("/")):
        with pytest.raises(UsageError, match=r"^--target-dir \S+: is the current folder or holds it, .* one below it$"):
            check_target("triton", folder)
    check_target("triton", Path("triton"))
    monkeypatch.setattr(os.path, "ismount", lambda path: path == tmp_path / "volume")
    with pytest.raises(UsageError, match=r"volume: is a mount point, and is written by exchanging the folder; name"):
        check_target("triton", tmp_path / "volume")


def test_a_target_is_written_in_place_of_the_one_before(tmp_path: Path) -> None:
    bundle = copy_bundle(tmp_path)
    for _ in range(2):
        assert len(write_target("triton", bundle, tmp_path / "out")) == 2
        (tmp_path / "out" / "shared" / "leftover").mkdir()
    write_target("triton", bundle, tmp_path / "out")
    assert not (tmp_path / "out" / "shared" / "leftover").exists()


def test_a_target_that_fails_leaves_the_one_before(tmp_path: Path) -> None:
    bundle = copy_bundle(tmp_path)
    write_target("triton", bundle, tmp_path / "out")
    before = sorted(path for path in (tmp_path / "out").rglob("*"))
    next((bundle / "merged").glob("cars-*")).unlink()
    with pytest.raises(AtdError) as refused:
        write_target("triton", bundle, tmp_path / "out")
    assert isinstance(refused.value, FormatError)
    assert sorted(path for path in (tmp_path / "out").rglob("*")) == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".out.")] in ([], [".out.lock"])
