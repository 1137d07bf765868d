"""Points in the plane: rotating, scaling and placing shapes, and turning them into ink."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from pretraining.formulas.formula import Ink

Points = NDArray[np.float64]
"""Points [count, 2] as x, y; a shape lies about within -1 to 1."""

OVERSAMPLING = 2
"""Shapes are drawn this many times larger and then reduced, which smooths their edges."""


def place(points: Points, rng: np.random.Generator, turn: float, scale: tuple[float, float]) -> Points:
    """Turn by up to `turn` radians either way, scale, squeeze, shear and shift a shape."""
    angle = rng.uniform(-turn, turn)
    cos, sin = np.cos(angle), np.sin(angle)
    squeeze, shear = rng.uniform(0.8, 1.25), rng.uniform(-0.2, 0.2)
    matrix = np.array([[cos, -sin], [sin, cos]]) @ np.array([[squeeze, shear], [0.0, 1 / squeeze]])
    factor = rng.uniform(*scale)
    shift = rng.uniform(-1, 1, 2) * max(0.1, 0.9 - factor)
    placed: Points = points @ (factor * matrix).T + shift
    return placed


def to_pixels(points: Points, size: int) -> list[tuple[float, float]]:
    """Map -1..1 to pixel coordinates of the oversampled canvas."""
    scaled = (points + 1) * (0.5 * size * OVERSAMPLING)
    return [(float(x), float(y)) for x, y in scaled]


def canvas(size: int) -> PillowImage.Image:
    """An empty oversampled canvas, mode L."""
    return PillowImage.new("L", (size * OVERSAMPLING, size * OVERSAMPLING), 0)


def to_ink(drawn: PillowImage.Image) -> Ink:
    """Reduce an oversampled canvas to ink."""
    return np.asarray(drawn.reduce(OVERSAMPLING), np.float32) / np.float32(255)
