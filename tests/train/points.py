"""Clusters of points that a linear head can be fitted to."""

from __future__ import annotations

from typing import Any

import numpy as np


def make_points(classes: int, per_class: int = 20, spread: float = 1.0, seed: int = 0) -> tuple[Any, Any]:
    """Return clusters of points around corners, with channels of very different scale and an offset."""
    generator = np.random.default_rng(seed)
    targets = np.repeat(np.arange(classes), per_class)
    centres = 4 * np.eye(classes, 6)
    points = centres[targets] + spread * generator.normal(size=(len(targets), 6))
    return (points * [1, 10, 0.1, 1, 1, 1] + 3).astype(np.float32), targets.astype(np.int64)


def make_folds(count: int, folds: int) -> Any:
    """Return a fold for each of `count` points, in turn."""
    return np.arange(count, dtype=np.int64) % folds
