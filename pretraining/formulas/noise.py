"""Noise textures: coloured, directed noise, smooth or thresholded into patches, and cells around points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pretraining.formulas.formula import Image, Ink
from pretraining.formulas.paint import paint


@dataclass(frozen=True)
class Noise:
    """A random field with a fixed spectrum, or the cells of random points.

    Attributes:
        slope: how fast the spectrum falls with frequency.
        centre: frequency, in cycles across the image, below which it falls as well.
        stretch: ratio of the scales along and across the direction.
        direction: radians.
        levels: number of steps the field is cut into, 0 for a smooth one.
        cells: number of points for cells, 0 for a field.
    """

    slope: float
    centre: float
    stretch: float
    direction: float
    levels: int
    cells: int

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Noise:
        """Draw a field (three in four) or cells."""
        return cls(
            slope=float(rng.uniform(1.0, 4.0)),
            centre=float(np.exp(rng.uniform(0, np.log(12)))),
            stretch=float(np.exp(rng.uniform(0, np.log(5)))),
            direction=float(rng.uniform(0, np.pi)),
            levels=int(rng.choice([0, 2, 3])),
            cells=0 if rng.random() < 0.75 else int(rng.integers(6, 60)),
        )

    def draw(self, rng: np.random.Generator, size: int) -> Image:
        """Draw a new field or new points of the same kind, the direction turned slightly."""
        return paint(self._cells(rng, size) if self.cells else self._field(rng, size), rng)

    def _field(self, rng: np.random.Generator, size: int) -> Ink:
        down, across = np.fft.fftfreq(size, 1 / size)[:, None], np.fft.rfftfreq(size, 1 / size)[None, :]
        angle = self.direction + rng.uniform(-0.15, 0.15)
        along = (np.cos(angle) * across + np.sin(angle) * down) * self.stretch
        aside = np.cos(angle) * down - np.sin(angle) * across
        frequency = np.hypot(along, aside) / (self.centre * rng.uniform(0.85, 1.18))
        gain = frequency / (1 + frequency ** (1 + self.slope))
        spectrum = np.fft.rfft2(rng.standard_normal((size, size))) * gain
        field = np.fft.irfft2(spectrum, s=(size, size))
        ink = np.clip(0.5 + 0.25 * field / (field.std() + 1e-9), 0, 0.999)
        if self.levels:
            ink = np.floor(ink * self.levels) / (self.levels - 1)
        return np.asarray(ink, np.float32)

    def _cells(self, rng: np.random.Generator, size: int) -> Ink:
        axis = np.linspace(-1, 1, size, dtype=np.float32)
        points = rng.uniform(-1.1, 1.1, (self.cells, 2)).astype(np.float32)
        stretch = np.float32(np.sqrt(self.stretch))
        across = (axis[None, :] - points[:, :1]) * stretch
        down = (axis[None, :] - points[:, 1:]) / stretch
        squared = across[:, None, :] ** 2 + down[:, :, None] ** 2
        nearest = np.partition(squared, 1, axis=0)[:2]
        first, second = np.sqrt(nearest[0]), np.sqrt(nearest[1])
        if self.levels == 0:
            return np.asarray(np.clip(first * np.sqrt(self.cells) * 0.8, 0, 1), np.float32)
        if self.levels == 2:
            return np.asarray((second - first) * np.sqrt(self.cells) < 0.35, np.float32)
        shades = rng.random(self.cells, dtype=np.float32)
        return np.asarray(shades[squared.argmin(axis=0)])
