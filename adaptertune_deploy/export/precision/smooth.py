"""Share the range of int8 between what a product multiplies and its weight, so that both round as little as may be.

A few channels of an activation are far larger than the rest and would take the one scale for themselves. Divided by a
factor for each channel, with the weight's rows multiplied by it, the product is the same (SmoothQuant, arXiv
2211.10438). How much goes to the weight, and how much of the range is worth covering, is tried out on rows that were
kept from the calibration images.

int8 without a zero point covers as much below zero as above, of which GELU's values, hardly below zero, use half. Moved
by a constant to the middle of the range they use all of it; what that takes from the product is added to its bias.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.export.precision.products import LEVELS, quantised

# SmoothQuant's alpha: 0 leaves the activation as it is, 1 makes all of its channels of one size.
ALPHAS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
COVERED = (1.0, 0.9, 0.8, 0.7)  # of the largest magnitude: rare values may be cut off for finer steps


@dataclass(frozen=True, eq=False)
class Scaling:
    """How what a product multiplies becomes int8.

    factor: float32 [K], what each channel is divided by and the weight's row multiplied with.
    centre: what int8 calls 0, after the division.
    largest: distance from there that int8 covers.
    error: of the products in int8, as a share of their size.
    """

    factor: Array
    centre: float
    largest: float
    error: float


def choose(
    rows: Array, sizes: Array, weights: Sequence[Array], alphas: Sequence[float] = ALPHAS, centred: bool = False
) -> Scaling:
    """Return the best scaling of those that are tried.

    Args:
        rows: float32 [R, K], some of what the products multiply.
        sizes: float32 [K], the largest magnitude of each channel on all images.
        weights: float32 [K, N] each, all that multiply it.
        alphas: shares to try.
        centred: whether the values may be moved.
    """
    weight = np.concatenate(weights, axis=1)
    exact = rows @ weight
    size = float(np.linalg.norm(exact)) or 1.0
    found: list[Scaling] = []
    for alpha in alphas:
        factor = factors(sizes, weight, alpha)
        held = quantised("", weight * factor[:, None])
        short, even = held.values * held.scale, rows / factor
        least = float(even.min()) if centred else None
        for covered in COVERED:
            largest = covered * (float((sizes / factor).max()) or 1.0)
            centre = 0.0 if least is None else (largest + max(least, -largest)) / 2
            largest -= centre
            step = np.float32(largest / LEVELS)
            rounded = np.clip(np.rint((even - np.float32(centre)) / step), -LEVELS, LEVELS) * step + np.float32(centre)
            error = float(np.linalg.norm(rounded @ short - exact)) / size
            found.append(Scaling(factor, centre, largest, error))
    return min(found, key=lambda scaling: scaling.error)


def factors(sizes: Array, weight: Array, alpha: float) -> Array:
    """Return SmoothQuant's factors float32 [K]; 1 for a channel in which either side is nothing but zeros."""
    largest = np.abs(weight).max(axis=1)
    usable = (sizes > 0) & (largest > 0) & (alpha > 0)
    factor = np.where(usable, sizes, 1) ** alpha / np.where(usable, largest, 1) ** (1 - alpha)
    return np.clip(factor, 1e-4, 1e4).astype(np.float32)
