"""train.logs.log: names, places that are refused before any work, and lines."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.train.logs.log import Line, Logs, check_log, kinds_of


class Kept:
    """A log in memory."""

    def __init__(self) -> None:
        self.said: list[Any] = []

    def begin(self, training: str, step: int) -> None:
        self.said.append((training, step))

    def write(self, training: str, line: Line) -> None:
        self.said.append((training, line))

    def close(self) -> None:
        self.said.append("closed")


@pytest.mark.parametrize(
    ("text", "kinds"), [("", ()), ("csv", ("csv",)), (" tensorboard, csv,csv", ("tensorboard", "csv"))]
)
def test_kinds_are_named_in_any_order(text: str, kinds: tuple[str, ...]) -> None:
    assert kinds_of(text) == kinds


def test_an_unknown_kind_is_refused_with_the_nearest() -> None:
    with pytest.raises(
        UsageError, match=r"--log tensorbord: no log 'tensorbord', only csv, tensorboard\. .*tensorboard"
    ):
        kinds_of("tensorbord")


def test_places_that_won_t_do_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    check_log(("csv",), tmp_path / "new", resume=False)
    check_log(("csv",), tmp_path, resume=True)
    for kinds, folder, said in (
        ((), tmp_path / "new", "no --log says what"),
        (("csv",), tmp_path / "file", "is a file, expected a folder"),
        (("csv",), tmp_path, "is not empty; choose another folder, or go on with its run by --resume"),
    ):
        with pytest.raises(UsageError, match=f"--log-dir {folder}: .*{said}"):
            check_log(kinds, folder, resume=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    check_log(("csv",), None, resume=False)
    with pytest.raises(UsageError, match=r"--log tensorboard needs tensorboardX, which is not installed; pip install"):
        check_log(("csv", "tensorboard"), None, resume=False)


def test_every_writer_gets_every_line(tmp_path: Path) -> None:
    writers = Kept(), Kept()
    write = Logs(tmp_path, writers, keep=True).training("seed 0", 4, lambda: 12.5)
    write(5, 0.1, 2.0)
    assert writers[0].said == writers[1].said == [("seed 0", 4), ("seed 0", Line(5, 0.1, 2.0, 12.5))]
