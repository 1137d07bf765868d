"""train.resume.claim: two trainings of one task never share a place, and a place that nobody holds is free."""

from __future__ import annotations

from pathlib import Path

import pytest

from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.train.resume.claim import check_unclaimed, claimed

REFUSED = "^task 'trees' is being trained into .* by another process; wait for it, or give another --out or --task$"


def test_a_place_is_held_once_and_for_one_task(tmp_path: Path) -> None:
    with claimed(tmp_path, "trees"):
        with pytest.raises(UsageError, match=REFUSED), claimed(tmp_path, "trees"):
            pytest.fail("two hold it")
        with pytest.raises(UsageError, match=REFUSED):
            check_unclaimed(tmp_path, "trees")
        check_unclaimed(tmp_path, "birds")
        with claimed(tmp_path, "birds"):
            pass
        with pytest.raises(UsageError, match=REFUSED):  # whoever was refused took nothing away
            check_unclaimed(tmp_path, "trees")
    with claimed(tmp_path, "trees"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_was_made_goes_where_nothing_came_of_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="failed"), claimed(tmp_path / "a" / "b", "trees"):
        raise ValueError("failed")
    assert list(tmp_path.iterdir()) == []
    with claimed(tmp_path / "a" / "b", "trees"):
        (tmp_path / "a" / "b" / "trees").mkdir()
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["trees"]
    (tmp_path / "empty").mkdir()
    with claimed(tmp_path / "empty", "trees"):
        pass
    assert (tmp_path / "empty").is_dir()


def test_an_error_of_the_work_is_not_taken_for_a_held_place(tmp_path: Path) -> None:
    with pytest.raises(BlockingIOError, match="of the work"), claimed(tmp_path, "trees"):
        raise BlockingIOError("of the work")


def test_what_a_killed_process_held_is_free(tmp_path: Path) -> None:
    (tmp_path / ".trees.training").touch()
    check_unclaimed(tmp_path, "trees")
    with claimed(tmp_path, "trees"):
        pass
    assert list(tmp_path.iterdir()) == []
