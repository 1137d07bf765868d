"""Which kind of log is written by what."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from adaptertune_deploy.train.logs.csv_log import CsvLog
from adaptertune_deploy.train.logs.log import CSV, TENSORBOARD, Logs, Writer
from adaptertune_deploy.train.logs.tensorboard_log import TensorboardLog


def open_logs(kinds: Sequence[str], folder: Path | None, usual: Path, *, resume: bool) -> Logs | None:
    """Return the logs that a run asks for, in a folder that is made; None where it asks for none.

    Args:
        kinds: of KINDS.
        folder: see check_log.
        usual: taken in place of None; what another run left there goes unless this one goes on with it.
        resume: see check_log.
    """
    if not kinds:
        return None
    place = folder or usual
    if folder is None and not resume:
        shutil.rmtree(usual, ignore_errors=True)
    place.mkdir(parents=True, exist_ok=True)
    writers: list[Writer] = []
    if CSV in kinds:
        writers.append(CsvLog(place))
    if TENSORBOARD in kinds:
        writers.append(TensorboardLog(place))
    return Logs(place, writers, keep=folder is not None)
