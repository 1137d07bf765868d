"""Where the steps of a run are logged: which kinds there are, in which folder, and what becomes of it.

A log without a folder of its own lies beside the adapter that the run makes, under a hidden name, so that a run that is
stopped or killed leaves its lines; in the end it becomes a part of the report.
"""

from __future__ import annotations

import importlib.util
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, SupportsFloat

from adaptertune_deploy.core.errors import UsageError, did_you_mean

CSV, TENSORBOARD = "csv", "tensorboard"
KINDS = (CSV, TENSORBOARD)


@dataclass(frozen=True)
class Line:
    """One step of one training.

    step: from 1.
    lr: learning rate of the adapters.
    loss: of the batch, in nats.
    time: when it ended, seconds since 1970.
    """

    step: int
    lr: float
    loss: float
    time: float


class StepLog(Protocol):
    """Called after every step of one training."""

    def __call__(self, step: int, lr: float, loss: SupportsFloat) -> None:
        """Log a step; a loss that is still being computed is waited for."""


def unlogged(step: int, lr: float, loss: SupportsFloat) -> None:
    """Log nothing and wait for nothing."""


class Writer(Protocol):
    """Keeps lines; what was written is on the disk when `write` returns, whatever happens to the process."""

    def begin(self, training: str, step: int) -> None:
        """Go on after a step of a training, 0 at its start; lines after it, of a run that was stopped, go."""

    def write(self, training: str, line: Line) -> None:
        """Add a line."""

    def close(self) -> None:
        """Give everything back."""


def kinds_of(text: str) -> tuple[str, ...]:
    """Return the kinds that --log names, comma-separated; none for an empty text.

    Raises:
        UsageError: there is no kind of that name.
    """
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in names:
        if name not in KINDS:
            near = did_you_mean(name, KINDS)
            raise UsageError(f"--log {text:.60}: no log '{name:.60}', only {', '.join(KINDS)}.{near}")
    return names


def usual_folder(out: Path, task: str) -> Path:
    """Return where the log of a run waits that was given no folder; `out` holds the adapter folders."""
    return out / f".{task}.log"


def check_log(kinds: Sequence[str], folder: Path | None, *, resume: bool) -> None:
    """Refuse a log that can't be kept, before any work.

    Args:
        kinds: of KINDS.
        folder: the one that was asked for; None takes the usual one.
        resume: whether a run goes on with what lies there.

    Raises:
        UsageError: a folder without a log, one in which something lies already, or a library that is not installed.
    """
    if folder is not None and not kinds:
        raise UsageError(f"--log-dir {folder}: says where, but no --log says what; add --log csv or --log tensorboard")
    if folder is not None and folder.exists() and not folder.is_dir():
        raise UsageError(f"--log-dir {folder}: is a file, expected a folder")
    if folder is not None and not resume and folder.is_dir() and any(folder.iterdir()):
        raise UsageError(f"--log-dir {folder}: is not empty; choose another folder, or go on with its run by --resume")
    if TENSORBOARD in kinds and importlib.util.find_spec("tensorboardX") is None:
        raise UsageError(
            "--log tensorboard needs tensorboardX, which is not installed; pip install "
            "'adaptertune-deploy[train,tensorboard]'"
        )


class Logs:
    """The logs of a run.

    Args:
        folder: holds them; see usual_folder.
        writers: at least one.
        keep: whether the folder stays where it is; otherwise it becomes a part of the report.
    """

    def __init__(self, folder: Path, writers: Sequence[Writer], *, keep: bool) -> None:
        self._folder, self._writers, self._keep = folder, tuple(writers), keep

    def training(self, name: str, step: int, clock: Callable[[], float] = time.time) -> StepLog:
        """Return the log of one training, which goes on after `step`; `clock` tells Line.time."""
        for writer in self._writers:
            writer.begin(name, step)

        def write(step: int, lr: float, loss: SupportsFloat) -> None:
            line = Line(step, lr, float(loss), clock())
            for writer in self._writers:
                writer.write(name, line)

        return write

    def report(self, folder: Path) -> None:
        """Copy the logs into a report's folder, unless they stay where they are."""
        self.close()
        if not self._keep:
            shutil.copytree(self._folder, folder / "log")

    def close(self) -> None:
        """Give everything back; what was written stays."""
        for writer in self._writers:
            writer.close()

    def remove(self) -> None:
        """Remove what `report` copied."""
        if not self._keep:
            shutil.rmtree(self._folder, ignore_errors=True)
