"""Images that a dataset's own lists name: which of them are on the disk."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from adaptertune_deploy.core.errors import DatasetError
from adaptertune_deploy.data.samples import Reader, Split, Targets


class RootedReader(Reader, Protocol):
    """Reads images that are files below a folder."""

    @property
    def root(self) -> Path:
        """The folder."""


def existing(root: Path, names: Iterable[str]) -> set[str]:
    """Return which of these POSIX paths below `root` exist; every folder is listed once, no file is looked at."""
    found: set[str] = set()
    for folder in {posixpath.dirname(name) for name in names}:
        try:
            found.update(posixpath.join(folder, entry) for entry in os.listdir(root / folder))
        except (OSError, ValueError):  # no such folder, or no name of one
            continue
    return found


def present(
    name: str, listed: Mapping[str, tuple[Sequence[str], Targets]], reader: RootedReader, allow_missing: bool
) -> tuple[dict[str, Split], tuple[str, ...]]:
    """Return each split with the images that exist, and the names of those that don't.

    Args:
        name: of the dataset, for messages.
        listed: split -> (POSIX paths below the reader's root, int64 targets).
        reader: reads them.
        allow_missing: leave absent images out instead of refusing.

    Raises:
        DatasetError: images are absent and `allow_missing` is not set, or a split has no image at all.
    """
    found = existing(reader.root, (file for files, _ in listed.values() for file in files))
    absent = {split: [file for file in files if file not in found] for split, (files, _) in listed.items()}
    skipped = tuple(file for files in absent.values() for file in files)
    if skipped and not allow_missing:
        parts = [f"{len(files):,} of {len(listed[split][0]):,} in {split}" for split, files in absent.items() if files]
        raise DatasetError(
            f"{name}: {len(skipped):,} listed images are absent from {reader.root} ({', '.join(parts)}; first: "
            f"{', '.join(skipped[:3])}); get them, or go on without them with --allow-missing"
        )
    splits = {}
    for split, (files, targets) in listed.items():
        rows = [row for row, file in enumerate(files) if file in found]
        if not rows:
            raise DatasetError(f"{name}: none of the {len(files):,} images of {split} is in {reader.root}")
        splits[split] = Split(tuple(files[row] for row in rows), targets[np.array(rows)], reader)
    return splits, skipped


def notes(skipped: Sequence[str]) -> tuple[str, ...]:
    """Return what a person should know about images that were left out; nothing when there are none."""
    if not skipped:
        return ()
    return (f"{len(skipped):,} listed images are absent and were left out (first: {', '.join(skipped[:3])})",)
