"""How sure a share of right answers is."""

from __future__ import annotations

from math import sqrt
from statistics import NormalDist


def wilson(right: int, total: int, level: float = 0.95) -> tuple[float, float]:
    """Return Wilson's score interval of a binomial proportion, without continuity correction.

    Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927), 209-212.

    Args:
        right: successes, 0 to `total`.
        total: trials, at least 1.
        level: confidence, between 0 and 1.

    Returns:
        The lower and the upper bound, 0..1.

    Raises:
        ValueError: counts that can't be.
    """
    if not 0 <= right <= total or total < 1:
        raise ValueError(f"{right} of {total} is no share")
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share = right / total
    scale = 1 + z * z / total
    centre = (share + z * z / (2 * total)) / scale
    half = z / scale * sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return max(0.0, centre - half), min(1.0, centre + half)


def counted(top1: float, total: int) -> str:
    """Return an accuracy as text with its count and 95 % interval: "63 = 85.1% [75.3, 91.5]".

    Raises:
        ValueError: no whole number of images gives this accuracy.
    """
    right = round(top1 * total)
    if abs(right / total - top1) > 1e-9:
        raise ValueError(f"no count of {total} images gives {top1}")
    low, high = wilson(right, total)
    return f"{right} = {top1:.1%} [{100 * low:.1f}, {100 * high:.1f}]"
