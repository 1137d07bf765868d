"""Images that a dataset's own lists name: which of them are on the disk."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np

from adaptertune_deploy.core.errors import DatasetError
from adaptertune_deploy.data.samples import FileReader, Split, Targets


def present(
    name: str, listed: Mapping[str, tuple[Sequence[str], Targets]], reader: FileReader, allow_missing: bool
) -> tuple[dict[str, Split], tuple[str, ...]]:
    """Return each split with the images that exist, and the names of those that don't.

    Args:
        name: of the dataset, for messages.
        listed: split -> (file names directly below the reader's root, int64 targets).
        reader: reads them.
        allow_missing: leave absent images out instead of refusing.

    Raises:
        DatasetError: images are absent and `allow_missing` is not set, or a split has no image at all.
    """
    found = set(os.listdir(reader.root))
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
