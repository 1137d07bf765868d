"""Which rank is enough: the smallest that is not shown to be worse than the best one.

Ranks answer the same images, each out of fold, so they are compared image by image: rank r is within one standard error
of the best where the mean of the differences of their losses is below the standard error of that mean. Of those the
smallest is taken (the one-standard-error rule of Breiman et al., Classification and Regression Trees, 1984, paired).
Rank 0 is the head alone. Where a rank that was tried beats it as the gate asks for, only such ranks can be taken: a
best rank whose own difference is noisy makes no head as good as an adapter that is shown to be better.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from adaptertune_deploy.train.comparison.gate import THRESHOLD

# Losses of one rank, float64 [images], at the rank's own temperature and weighted as the training weighs.
Losses = npt.NDArray[np.float64]

# Ranks that are looked at; the first two are tried before any other.
OCTAVES = (1, 2, 4, 8, 16, 32, 64)
FIRST = (8, 32)
HEAD_ONLY = 0


def to_best(tried: Mapping[int, Losses]) -> dict[int, tuple[float, float]]:
    """Return by how much each rank's loss lies above that of the best, and that mean's standard error; ranks ascend."""
    least = tried[best(tried)]
    return {rank: difference(tried[rank], least) for rank in sorted(tried)}


def best(tried: Mapping[int, Losses]) -> int:
    """Return the rank of the lowest mean loss, the smallest of several."""
    return min(sorted(tried), key=lambda rank: float(tried[rank].mean()))


def difference(losses: Losses, least: Losses) -> tuple[float, float]:
    """Return the mean by which losses lie above others of the same images, and its standard error."""
    differences = losses - least
    return float(differences.mean()), float(differences.std(ddof=1) / math.sqrt(len(differences)))


def within(tried: Mapping[int, Losses], least: int = HEAD_ONLY) -> tuple[int, ...]:
    """Return the ranks within one standard error of the best, ascending; the best itself among them.

    Args:
        tried: losses by rank.
        least: smaller ranks are left out, as if they had not been tried.
    """
    ranks = to_best({rank: losses for rank, losses in tried.items() if rank >= least})
    return tuple(rank for rank, (above, error) in ranks.items() if above <= 0 or above < error)


def shown(tried: Mapping[int, Losses]) -> tuple[int, ...]:
    """Return the ranks that beat the head alone, if it is there, by the gate's rule (comparison.gate), ascending."""
    if HEAD_ONLY not in tried:
        return ()
    gains = {rank: difference(tried[HEAD_ONLY], tried[rank]) for rank in sorted(tried) if rank != HEAD_ONLY}
    return tuple(rank for rank, (gain, error) in gains.items() if gain > 0 and gain >= THRESHOLD * error)


def pick(tried: Mapping[int, Losses], least: int = HEAD_ONLY) -> int:
    """Return the smallest rank within one standard error of the best, of those that beat the head alone if any does.

    Args:
        tried: losses by rank.
        least: see within.
    """
    alike, better = within(tried, least), shown(tried)
    return next((rank for rank in alike if rank in better), better[0]) if better else alike[0]


def following(tried: Mapping[int, Losses], most: int, least: int = HEAD_ONLY) -> int | None:
    """Return the rank to try next, or None where the search ends.

    The first two bracket the answer; then octaves between the pick and the largest smaller rank that was tried are
    halved. Where the largest rank alone is good enough, the next octave is tried once.

    Args:
        tried: losses of the ranks so far, rank 0 among them.
        most: ranks above 0 that may be tried in all.
        least: the smallest rank that may be picked.
    """
    if len(tried) - 1 >= most:
        return None
    for rank in FIRST:
        if rank not in tried:
            return rank
    picked = pick(tried, least)
    below = max((rank for rank in tried if rank < picked), default=picked)
    between = [rank for rank in OCTAVES if below < rank < picked]
    if between:
        return between[len(between) // 2]
    largest = max(tried)
    return 2 * largest if picked == largest == FIRST[-1] else None
