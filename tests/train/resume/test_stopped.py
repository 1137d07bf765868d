"""train.resume.stopped: what is said of a training that was stopped before."""

from __future__ import annotations

from pathlib import Path

import pytest

from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.train.resume.stopped import RUN_NAME, check_resume, folder_of, is_stopped


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Return a folder of adapters in which a training of pets was stopped."""
    folder_of(tmp_path, "pets").mkdir()
    (folder_of(tmp_path, "pets") / RUN_NAME).write_text("{}")
    return tmp_path


def test_each_task_has_its_own(out: Path) -> None:
    assert is_stopped(out, "pets")
    assert not is_stopped(out, "flowers")
    assert check_resume(out, "flowers", resume=False) == ()


def test_a_new_run_says_that_it_takes_the_place(out: Path) -> None:
    (said,) = check_resume(out, "pets", resume=False)
    assert said.startswith("a training of 'pets' was stopped before")
    assert "--resume" in said
    assert check_resume(out, "pets", resume=True) == ()


def test_nothing_to_go_on_with_is_a_mistake(out: Path) -> None:
    with pytest.raises(UsageError, match=f"--resume: no training of 'flowers' was stopped in {out}; leave it out"):
        check_resume(out, "flowers", resume=True)
