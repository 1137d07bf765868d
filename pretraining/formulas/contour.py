"""Closed contours: waves on a circle (VisualAtom, arXiv 2303.01112) and polygons with nested copies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import ImageDraw

from pretraining.formulas.formula import Image
from pretraining.formulas.paint import paint
from pretraining.formulas.plane import OVERSAMPLING, Points, canvas, place, to_ink, to_pixels


@dataclass(frozen=True)
class Contour:
    """A radius as a function of the angle, drawn once or several times inside itself.

    Attributes:
        waves: frequency, amplitude and phase of each wave on the radius.
        corners: how many points the curve is cut down to; few give a polygon.
        depth: how far every second corner is pulled inwards, 0 for none (a star otherwise).
        rings: how many scaled copies are drawn.
        filled: whether the outermost copy is filled.
    """

    waves: tuple[tuple[int, float, float], ...]
    corners: int
    depth: float
    rings: int
    filled: bool

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Contour:
        """Draw a smooth wavy orbit, a polygon or a star."""
        corners = int(rng.integers(3, 13)) if rng.random() < 0.5 else 72
        waves = tuple(
            (int(rng.integers(1, 9)), float(rng.uniform(0.05, 0.35)), float(rng.uniform(0, 2 * np.pi)))
            for _ in range(int(rng.integers(1, 4)))
        )
        depth = float(rng.choice([0.0, rng.uniform(0.2, 0.6)]))
        return cls(waves, corners, depth, int(rng.integers(1, 6)), bool(rng.random() < 0.5))

    def outline(self, rng: np.random.Generator) -> Points:
        """The outermost curve with its waves slightly changed, [corners, 2]."""
        angle = np.linspace(0, 2 * np.pi, self.corners, endpoint=False)
        radius = np.full(self.corners, 0.75)
        for frequency, amplitude, phase in self.waves:
            height = amplitude * rng.uniform(0.75, 1.25)
            radius = radius + height * np.sin(frequency * angle + phase + rng.uniform(-0.25, 0.25))
        radius[1::2] *= 1 - self.depth
        radius = np.clip(radius, 0.1, 1.2)
        return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)

    def draw(self, rng: np.random.Generator, size: int) -> Image:
        """Draw the copies from the outermost to the innermost, turned freely."""
        points = place(self.outline(rng), rng, turn=np.pi, scale=(0.4, 0.95))
        middle = points.mean(axis=0)
        drawn = canvas(size)
        pen = ImageDraw.Draw(drawn)
        width = int(rng.integers(1, 4)) * OVERSAMPLING
        if self.filled:
            pen.polygon(to_pixels(points, size), fill=int(rng.integers(90, 256)))
        for ring in range(self.rings):
            copy = middle + (points - middle) * (1 - ring / self.rings)
            shade = 0 if self.filled and ring % 2 else 255
            pen.line(to_pixels(np.vstack([copy, copy[:2]]), size), fill=shade, width=width, joint="curve")
        return paint(to_ink(drawn), rng)
