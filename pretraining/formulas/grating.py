"""Gratings: sums and products of waves, straight or round, of several wave forms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pretraining.formulas.formula import Image, Ink
from pretraining.formulas.paint import paint


@dataclass(frozen=True)
class Wave:
    """One wave: cycles across the image, direction in radians, sharpness of its edges, round or straight."""

    cycles: float
    direction: float
    sharpness: float
    is_round: bool


@dataclass(frozen=True)
class Grating:
    """One to three waves, added or multiplied, with a window around them or none.

    Attributes:
        waves: the waves.
        product: multiply the waves instead of adding them.
        window: radius of a Gaussian window in half image widths, 0 for none (a Gabor patch otherwise).
        bend: amplitude of a slow sideways wave that bends the grating.
    """

    waves: tuple[Wave, ...]
    product: bool
    window: float
    bend: float

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Grating:
        """Draw waves of 1.5 to 14 cycles."""
        waves = tuple(
            Wave(
                float(np.exp(rng.uniform(np.log(1.5), np.log(14)))),
                float(rng.uniform(0, np.pi)),
                float(rng.choice([1.0, 2.0, 8.0])),
                bool(rng.random() < 0.2),
            )
            for _ in range(int(rng.integers(1, 4)))
        )
        window = float(rng.choice([0.0, rng.uniform(0.25, 0.7)]))
        return cls(waves, bool(rng.random() < 0.5), window, float(rng.choice([0.0, rng.uniform(0.05, 0.3)])))

    def draw(self, rng: np.random.Generator, size: int) -> Image:
        """Draw with every direction turned by the same small angle, new phases and a new centre."""
        return paint(self._ink(rng, size), rng)

    def _ink(self, rng: np.random.Generator, size: int) -> Ink:
        axis = np.linspace(-1, 1, size, dtype=np.float32)
        centre = rng.uniform(-0.4, 0.4, 2).astype(np.float32)
        x, y = axis[None, :] - centre[0], axis[:, None] - centre[1]
        bend = self.bend * np.sin(3 * y + np.float32(rng.uniform(0, 6.3)))
        turn, zoom = rng.uniform(-0.15, 0.15), rng.uniform(0.85, 1.18)
        layers = [_height(wave, x + bend, y, turn, zoom, rng) for wave in self.waves]
        ink = np.prod(layers, axis=0) if self.product else np.mean(layers, axis=0)
        ink = 0.5 + 0.5 * ink
        if self.window > 0:
            ink = ink * np.exp(-(x * x + y * y) / (2 * (self.window * zoom) ** 2))
        return np.asarray(ink, np.float32)


def _height(
    wave: Wave,
    x: NDArray[np.float32],
    y: NDArray[np.float32],
    turn: float,
    zoom: float,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """The wave's value from -1 to 1 at every pixel, float32 [size, size]."""
    direction = wave.direction + turn
    distance = np.sqrt(x * x + y * y) if wave.is_round else np.cos(direction) * x + np.sin(direction) * y
    phase = np.float32(np.pi * wave.cycles * zoom) * distance + np.float32(rng.uniform(0, 2 * np.pi))
    sharp = np.tanh(wave.sharpness * np.sin(phase)) / np.tanh(wave.sharpness)
    return np.asarray(sharp, np.float32)
