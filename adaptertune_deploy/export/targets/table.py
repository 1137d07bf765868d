"""The table of targets, and what all of them have in common."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from adaptertune_deploy.core.errors import UsageError, did_you_mean
from adaptertune_deploy.core.storage import files
from adaptertune_deploy.engines.options import USUAL, EngineOptions

# name -> the module that writes it
TARGETS: Mapping[str, str] = {"triton": "adaptertune_deploy.export.targets.triton.target"}


class Target(Protocol):
    """A module that writes one target.

    Attributes:
        OWN: the names that it writes into its folder.
    """

    OWN: frozenset[str]

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
        UsageError: no target of that name, or a folder that holds something else or can't be written.
    """
    if name not in TARGETS:
        raise UsageError(f"--target: no target '{name}', only {', '.join(TARGETS)}.{did_you_mean(name, TARGETS)}")
    files.check_writable(folder, "--target-dir")
    own = _module(name).OWN
    foreign = sorted(path.name for path in folder.iterdir() if path.name not in own) if folder.is_dir() else []
    if foreign:
        raise UsageError(
            f"--target-dir {folder}: holds something else ({foreign[0]}), which would be lost; choose another one"
        )


def write_target(name: str, bundle: Path, folder: Path, options: EngineOptions = USUAL) -> tuple[str, ...]:
    """Write a target in place of what stood at `folder`, whole or not at all; see Target.write and check_target."""
    check_target(name, folder)
    with files.staged_directory(folder) as stage:
        return _module(name).write(bundle, stage, options)


def _module(name: str) -> Target:
    module: Target = importlib.import_module(TARGETS[name])
    return module
