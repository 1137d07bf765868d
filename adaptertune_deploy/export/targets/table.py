"""The table of targets, and what all of them have in common."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from adaptertune_deploy.core.errors import UsageError, did_you_mean
from adaptertune_deploy.core.storage import files
from adaptertune_deploy.engines.options import USUAL, EngineOptions

# name -> the module that writes it
TARGETS: Mapping[str, str] = {"triton": "adaptertune_deploy.export.targets.triton.target"}


class Target(Protocol):
    """A module that writes one target."""

    def foreign(self, folder: Path) -> Path | None:
        """Return a file below a folder that `write` did not write, None where there is none.

        A file's name is not enough where a person may have chosen the same.
        """

    def write(self, bundle: Path, folder: Path, options: EngineOptions) -> tuple[str, ...]:
        """Write a target's files and return what to tell a person, one line each.

        Args:
            bundle: the bundle, as it was published.
            folder: an empty folder.
            options: the engine that verified the graphs.
        """


def check_target(name: str, folder: Path) -> None:
    """Refuse a target before work is done for it.

    Raises:
        UsageError: no target of that name, or a folder that holds something else, can't be written, or can't be
            exchanged for another one.
    """
    if name not in TARGETS:
        raise UsageError(f"--target: no target '{name}', only {', '.join(TARGETS)}.{did_you_mean(name, TARGETS)}")
    files.check_writable(folder, "--target-dir")
    _check_exchangeable(folder)
    foreign = _module(name).foreign(folder) if folder.is_dir() else None
    if foreign is not None:
        raise UsageError(
            f"--target-dir {folder}: holds something else ({foreign.relative_to(folder)}), which would be lost; choose "
            "another one"
        )


def _check_exchangeable(folder: Path) -> None:
    """Refuse what files.staged_directory can't put another folder in place of."""
    if Path.cwd().is_relative_to(folder.resolve()):
        what = "is the current folder or holds it"
    elif os.path.ismount(folder):
        what = "is a mount point"
    else:
        return
    raise UsageError(f"--target-dir {folder}: {what}, and is written by exchanging the folder; name one below it")


def write_target(name: str, bundle: Path, folder: Path, options: EngineOptions = USUAL) -> tuple[str, ...]:
    """Write a target in place of what stood at `folder`, whole or not at all; see Target.write and check_target."""
    check_target(name, folder)
    with files.staged_directory(folder) as stage:
        return _module(name).write(bundle, stage, options)


def _module(name: str) -> Target:
    module: Target = importlib.import_module(TARGETS[name])
    return module
