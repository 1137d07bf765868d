"""Scenes: a few coloured, shaded parts that cover one another on a ground, as objects in photographs do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import ImageDraw

from pretraining.formulas.contour import Contour
from pretraining.formulas.formula import Image, Ink
from pretraining.formulas.grating import Grating
from pretraining.formulas.noise import Noise
from pretraining.formulas.paint import Layer, blend, colour, random_layer, to_image
from pretraining.formulas.plane import canvas, to_ink, to_pixels


@dataclass(frozen=True)
class Part:
    """One part: its outline, place, size, proportions and colour (hue, saturation, value)."""

    outline: Contour
    x: float
    y: float
    scale: float
    aspect: float
    tint: tuple[float, float, float]


@dataclass(frozen=True)
class Scene:
    """Two to five parts that keep their places relative to one another, in front of a textured ground.

    Attributes:
        parts: from back to front.
        ground: the texture behind them and on the first part.
        horizon: height at which the ground begins, -1..1; above it lies a plain or graded sky.
    """

    parts: tuple[Part, ...]
    ground: Grating | Noise
    horizon: float

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Scene:
        """Draw the parts, each smaller than the first."""
        parts = [_part(rng, 0.55, 0.1)]
        parts += [_part(rng, rng.uniform(0.15, 0.4), 0.6) for _ in range(int(rng.integers(1, 5)))]
        ground: Grating | Noise = Noise.sample(rng) if rng.random() < 0.7 else Grating.sample(rng)
        return cls(tuple(parts), ground, float(rng.uniform(-1.0, 0.6)))

    def draw(self, rng: np.random.Generator, size: int) -> Image:
        """Draw sky, ground and parts with a common shift, scale and light."""
        texture = self.ground.draw(rng, size).astype(np.float32) / 255
        sky = np.broadcast_to(random_layer(rng, size), texture.shape)
        edge = int((self.horizon + rng.uniform(-0.2, 0.2) + 1) * size / 2)
        layer: Layer = np.where(np.arange(size)[:, None, None] < edge, sky, texture).astype(np.float32)
        zoom, shift = rng.uniform(0.7, 1.3), rng.uniform(-0.3, 0.3, 2)
        mirror = rng.choice([-1.0, 1.0])
        light = _light(rng, size)
        for index, part in enumerate(self.parts):
            foreground = _tint(part, rng) * light
            if index == 0:
                foreground = foreground * (0.6 + 0.4 * texture)
            layer = blend(_ink(part, rng, size, zoom, shift, mirror), layer, foreground)
        return to_image(np.clip(layer, 0, 1), rng)


def _part(rng: np.random.Generator, scale: float, reach: float) -> Part:
    tint = (float(rng.random()), float(rng.uniform(0, 1)), float(rng.uniform(0.2, 1)))
    x, y = rng.uniform(-reach, reach, 2)
    aspect = float(np.exp(rng.uniform(-0.7, 0.7)))
    return Part(Contour.sample(rng), float(x), float(y), float(scale), aspect, tint)


def _tint(part: Part, rng: np.random.Generator) -> Layer:
    hue, saturation, value = part.tint
    hue += rng.uniform(-0.06, 0.06)
    return colour(hue, saturation * rng.uniform(0.7, 1.2), value * rng.uniform(0.7, 1.2))


def _light(rng: np.random.Generator, size: int) -> Layer:
    """Shading from a random side, float32 [size, size, 1]."""
    angle, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.5)
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    ramp = np.cos(angle) * axis[None, :] + np.sin(angle) * axis[:, None]
    return np.asarray(1 - strength / 2 + strength / 2 * ramp, np.float32)[..., None]


def _ink(
    part: Part,
    rng: np.random.Generator,
    size: int,
    zoom: float,
    shift: NDArray[np.float64],
    mirror: float,
) -> Ink:
    """The part's filled outline where the common shift, zoom and mirror put it."""
    stretch = np.array([np.sqrt(part.aspect), 1 / np.sqrt(part.aspect)]) * part.scale
    centre = np.array([part.x, part.y]) + rng.uniform(-0.08, 0.08, 2)
    points = part.outline.outline(rng) * stretch + centre
    points = points * np.array([mirror * zoom, zoom]) + shift
    drawn = canvas(size)
    ImageDraw.Draw(drawn).polygon(to_pixels(points, size), fill=255)
    return to_ink(drawn)
