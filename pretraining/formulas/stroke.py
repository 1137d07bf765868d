"""Glyphs: a few curved pen strokes at fixed places, as in writing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import ImageDraw

from pretraining.formulas.formula import Image
from pretraining.formulas.paint import paint
from pretraining.formulas.plane import OVERSAMPLING, Points, canvas, place, to_ink, to_pixels

JITTER = 0.09
"""How far a control point moves from one instance to the next, in half glyph heights."""


@dataclass(frozen=True)
class Glyph:
    """One to four strokes, each the control points of a curve, float64 [points, 2] within -1..1."""

    strokes: tuple[NDArray[np.float64], ...]

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Glyph:
        """Draw strokes that are lines, arcs, loops or free curves; most start where another one ended."""
        strokes: list[Points] = []
        for _ in range(int(rng.integers(1, 5))):
            stroke = _stroke(rng)
            if strokes and rng.random() < 0.6:
                stroke = stroke - stroke[0] + strokes[-1][int(rng.integers(len(strokes[-1])))]
            strokes.append(stroke)
        points = np.concatenate(strokes)
        low, high = points.min(axis=0), points.max(axis=0)
        scale = np.maximum(high - low, 0.5 * (high - low).max()) / 2
        return cls(tuple((stroke - (low + high) / 2) / scale for stroke in strokes))

    def draw(self, rng: np.random.Generator, size: int) -> Image:
        """Draw with moved control points, a new pen width and slant; upright within about 20 degrees."""
        moved = [stroke + JITTER * rng.standard_normal(stroke.shape) for stroke in self.strokes]
        cuts = np.cumsum([len(stroke) for stroke in moved])[:-1]
        placed = np.split(place(np.concatenate(moved), rng, turn=0.35, scale=(0.4, 0.95)), cuts)
        drawn = canvas(size)
        pen = ImageDraw.Draw(drawn)
        width = int(rng.integers(2, 9)) * OVERSAMPLING
        for stroke in placed:
            pen.line(to_pixels(_curve(stroke), size), fill=255, width=width, joint="curve")
        return paint(to_ink(drawn), rng)


def _stroke(rng: np.random.Generator) -> Points:
    """Control points of one stroke."""
    kind = rng.random()
    if kind < 0.3:
        return rng.uniform(-1, 1, (2, 2))
    if kind < 0.65:
        return _arc(rng)
    return rng.uniform(-1, 1, (int(rng.integers(3, 5)), 2))


def _arc(rng: np.random.Generator) -> Points:
    """An arc or a whole loop as eight points on an ellipse."""
    start, span = rng.uniform(0, 2 * np.pi), rng.uniform(np.pi / 2, 2 * np.pi)
    angle = np.linspace(start, start + span, 8)
    radii, centre = rng.uniform(0.25, 0.8, 2), rng.uniform(-0.4, 0.4, 2)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1) * radii + centre


def _curve(control: Points) -> Points:
    """Pass a Catmull-Rom spline through the control points, eight samples a segment."""
    if len(control) == 2:
        return control
    padded = np.vstack([2 * control[:1] - control[1:2], control, 2 * control[-1:] - control[-2:-1]])
    before, start, end, after = padded[:-3], padded[1:-2], padded[2:-1], padded[3:]
    t = np.linspace(0, 1, 8)[None, :, None]
    linear, square = (end - before)[:, None], (2 * before - 5 * start + 4 * end - after)[:, None]
    cube = (3 * start - before - 3 * end + after)[:, None]
    curve: Points = start[:, None] + 0.5 * (linear * t + square * t**2 + cube * t**3)
    return curve.reshape(-1, 2)
