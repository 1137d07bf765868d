"""Fractals of iterated function systems, drawn by the chaos game (FractalDB, arXiv 2101.08515)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pretraining.formulas.formula import Image, Ink
from pretraining.formulas.paint import paint
from pretraining.formulas.plane import Points, place

PARTICLES = 384
BURN_IN = 8
STEPS = 14


@dataclass(frozen=True)
class Fractal:
    """An iterated function system.

    Attributes:
        matrices: linear parts, float64 [maps, 2, 2], each a contraction.
        shifts: float64 [maps, 2].
        weights: how often each map is chosen, float64 [maps].
    """

    matrices: NDArray[np.float64]
    shifts: NDArray[np.float64]
    weights: NDArray[np.float64]

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Fractal:
        """Draw 2 to 6 maps whose singular values lie between 0.2 and 0.85."""
        maps = int(rng.integers(2, 7))
        left, right = rng.uniform(0, 2 * np.pi, (2, maps))
        values = rng.uniform(0.2, 0.85, (maps, 2)) * rng.choice([-1.0, 1.0], (maps, 2))
        matrices = _rotations(left) @ (values[:, :, None] * _rotations(right))
        weights = np.abs(np.linalg.det(matrices)) + 0.03
        return cls(matrices, rng.uniform(-1, 1, (maps, 2)), weights / weights.sum())

    def draw(self, rng: np.random.Generator, size: int) -> Image:
        """Draw the attractor of slightly changed maps, turned freely."""
        points = place(_centred(self._points(rng)), rng, turn=np.pi, scale=(0.5, 0.95))
        return paint(_density(points, rng, size), rng)

    def _points(self, rng: np.random.Generator) -> Points:
        """Play the chaos game with many particles at once."""
        matrices = self.matrices * rng.uniform(0.9, 1.1, self.matrices.shape)
        shifts = self.shifts + rng.uniform(-0.05, 0.05, self.shifts.shape)
        choices = rng.choice(len(self.weights), (BURN_IN + STEPS, PARTICLES), p=self.weights)
        points = rng.uniform(-1, 1, (PARTICLES, 2))
        kept = []
        for step, choice in enumerate(choices):
            points = np.einsum("pij,pj->pi", matrices[choice], points) + shifts[choice]
            if step >= BURN_IN:
                kept.append(points)
        return np.concatenate(kept)


def _rotations(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    cos, sin = np.cos(angles), np.sin(angles)
    return np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], -2)


def _centred(points: Points) -> Points:
    """Fit all but the outermost points into -1..1, keeping the aspect."""
    low, high = np.percentile(points, 2, axis=0), np.percentile(points, 98, axis=0)
    centred: Points = (points - (low + high) / 2) / max(float((high - low).max()) / 2, 1e-3)
    return centred


def _density(points: Points, rng: np.random.Generator, size: int) -> Ink:
    """Count points a pixel and compress the counts into ink."""
    pixels = ((points + 1) * (0.5 * size)).astype(np.int64)
    inside = ((pixels >= 0) & (pixels < size)).all(axis=1)
    flat = pixels[inside, 1] * size + pixels[inside, 0]
    counts = np.bincount(flat, minlength=size * size).reshape(size, size)
    ink: Ink = 1 - np.exp(-counts * rng.uniform(0.5, 2.0))
    return ink.astype(np.float32)
