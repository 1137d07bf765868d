"""Hold out a share of every class, the same images whenever the same images are there, copies together."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from adaptertune_deploy.core.progress import Progress, silent
from adaptertune_deploy.data.samples import Split, Targets

Counts = npt.NDArray[np.int64]
Rows = npt.NDArray[np.int64]
MIXED = -1


@dataclass(frozen=True, eq=False)
class Group:
    """The rows of a split that hold one and the same image.

    rows: int64, ascending.
    target: their class; MIXED when they are labelled with more than one.
    """

    rows: Rows
    target: int


def groups_of(
    split: Split, salt: str, progress: Progress = silent, contents: Sequence[str] | None = None
) -> list[Group]:
    """Return a split's images, copies put together, in the order of a hash of `salt` and the lowest-ranked name.

    Args:
        split: the images.
        salt: another text gives another order.
        progress: told about the hashing.
        contents: what copies have in common, for each image; None takes the hashes of their files.

    Raises:
        DatasetError: a file is absent.
    """
    rows: dict[str, list[int]] = {}
    for row, content in enumerate(contents or split.contents(progress)):
        rows.setdefault(content, []).append(row)
    ranks = [_rank(salt, name) for name in split.names]
    ordered = sorted(rows.values(), key=lambda group: min(ranks[row] for row in group))
    return [Group(np.array(group, dtype=np.int64), _target(split.targets[group])) for group in ordered]


def held_rows(
    split: Split, fraction: float, salt: str, progress: Progress = silent, contents: Sequence[str] | None = None
) -> Rows:
    """Return the rows to hold out of a split, int64, ascending.

    Which they are follows from a hash of `salt` and their names alone: not from a run's seed, the order of the files
    or a library's random numbers, and one more image moves few others. Copies of an image are held out together; an
    image that is there under two labels is never held out, since no answer to it would be right.

    Args:
        split: what to divide.
        fraction: share of every class's different images, 0 < fraction < 1; see `held_counts` for the rounding.
        salt: another text gives another choice.
        progress: told about the hashing.
        contents: see groups_of.

    Raises:
        DatasetError: a file is absent.
    """
    groups = groups_of(split, salt, progress, contents)
    targets = np.array([group.target for group in groups], dtype=np.int64)
    present, counts = np.unique(targets[targets != MIXED], return_counts=True)
    left = dict(zip(present.tolist(), held_counts(counts, fraction).tolist(), strict=True))
    held: list[Rows] = []
    for group in groups:
        if left.get(group.target, 0):
            left[group.target] -= 1
            held.append(group.rows)
    return np.sort(np.concatenate([np.empty(0, dtype=np.int64), *held]))


def hold_out(
    split: Split, fraction: float, salt: str, progress: Progress = silent, contents: Sequence[str] | None = None
) -> tuple[Split, Split]:
    """Return (kept, held out), both in the split's order; see held_rows."""
    held = held_rows(split, fraction, salt, progress, contents)
    return split.take(np.setdiff1d(np.arange(len(split)), held)), split.take(held)


def hold_out_by_name(split: Split, fraction: float, salt: str) -> tuple[Split, Split]:
    """Return (kept, held out) as `hold_out` does, but by the names alone; no image is read.

    For a published division, which has to be the same wherever the names are: copies of an image may be in both parts.
    """
    ranks = [_rank(salt, name) for name in split.names]
    present, counts = np.unique(split.targets, return_counts=True)
    held: list[int] = []
    for target, count in zip(present, held_counts(counts, fraction), strict=True):
        rows = np.flatnonzero(split.targets == target).tolist()
        held += sorted(rows, key=lambda row: ranks[row])[:count]
    return split.take(np.setdiff1d(np.arange(len(split)), held)), split.take(sorted(held))


def held_counts(counts: Sequence[int] | Counts, fraction: float) -> Counts:
    """Return how many images of each class to hold out.

    Every class gives its share rounded down, but at least one, and keeps at least one; a class of one image keeps
    it. The largest remainders then fill up to the rounded share of the whole, so no class is off by one or more
    from its share unless those two rules ask for it.
    """
    sizes = np.asarray(counts, dtype=np.int64)
    shares = sizes * fraction
    most = sizes - 1
    held: Counts = np.minimum(np.maximum(np.floor(shares).astype(np.int64), 1), most)
    missing = round(float(sizes.sum() * fraction)) - int(held.sum())
    for row in np.argsort(held - shares, kind="stable"):
        if missing <= 0:
            break
        if held[row] < most[row] and held[row] < shares[row]:
            held[row] += 1
            missing -= 1
    return held


def _target(targets: Targets) -> int:
    return int(targets[0]) if (targets == targets[0]).all() else MIXED


def _rank(salt: str, name: str) -> bytes:
    return hashlib.sha256(f"{salt}:{name}".encode("utf-8", "surrogateescape")).digest()
