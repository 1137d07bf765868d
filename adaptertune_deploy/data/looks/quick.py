"""The images of a training: photographs are decoded at a part of their size, and exact copies told as if they were not.

A JPEG file that is decoded reduced has other pixels than the same image in a lossless file, and two of them may differ
in what reducing leaves out. The few that this could matter for are read once more.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from adaptertune_deploy.core.progress import Progress, silent
from adaptertune_deploy.data.looks.scan import Look, scan
from adaptertune_deploy.data.samples import Split

Place = tuple[str, str]


def look(splits: Mapping[str, Split], progress: Progress = silent) -> tuple[Look, ...]:
    """Read every image of some splits, in their order; equal `print.pixels` mean copies as in scan without `reduced`.

    Args:
        splits: by name.
        progress: told about the reading.
    """
    looks = scan(splits, progress, reduced=True)
    unsure = _unsure(looks)
    if not unsure:
        return looks
    parts = {
        part: split.take([row for row, name in enumerate(split.names) if (part, name) in unsure])
        for part, split in splits.items()
    }
    full = {(one.split, one.name): one for one in scan(parts, progress)}
    return tuple(full.get((one.split, one.name), one) for one in looks)


def _unsure(looks: Sequence[Look]) -> frozenset[Place]:
    """Return the reduced images that may be copies of one of their size that was not, or of another reduced file."""
    reduced = [one for one in looks if not one.error and one.reducible]
    whole = {(one.width, one.height) for one in looks if not one.error and not one.reducible}
    files: dict[bytes, set[str]] = defaultdict(set)
    for one in reduced:
        files[_pixels(one)].add(one.sha256)
    return frozenset(
        (one.split, one.name) for one in reduced if (one.width, one.height) in whole or len(files[_pixels(one)]) > 1
    )


def _pixels(look: Look) -> bytes:
    return look.print.pixels if look.print is not None else b""
