"""Hold out a share of every class, the same images whenever the same images are there."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from adaptertune_deploy.data.samples import Split

Counts = npt.NDArray[np.int64]


def hold_out(split: Split, fraction: float, salt: str) -> tuple[Split, Split]:
    """Return (kept, held out), both in the split's order.

    Which images are held out follows from a hash of `salt` and their names alone: not from a run's seed, the order
    of the files or a library's random numbers, and one more image moves few others.

    Args:
        split: what to divide.
        fraction: share to hold out, 0 < fraction < 1, of every class; see `held_counts` for the rounding.
        salt: another text gives another choice.
    """
    held = np.zeros(len(split), dtype=bool)
    present, counts = np.unique(split.targets, return_counts=True)
    for target, count in zip(present, held_counts(counts, fraction), strict=True):
        rows = np.flatnonzero(split.targets == target)
        ranked = sorted(rows, key=lambda row: _rank(salt, split.names[row]))
        held[ranked[:count]] = True
    return split.take(np.flatnonzero(~held)), split.take(np.flatnonzero(held))


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


def _rank(salt: str, name: str) -> bytes:
    return hashlib.sha256(f"{salt}:{name}".encode()).digest()
