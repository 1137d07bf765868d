"""Colour: foreground and background of an image, given where the ink is."""

from __future__ import annotations

import colorsys

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from pretraining.formulas.formula import Image, Ink

Layer = NDArray[np.float32]
"""RGB values that broadcast to [size, size, 3], from 0 to 1."""


def random_colour(rng: np.random.Generator) -> Layer:
    """Draw a colour evenly over hue, with greys, black and white kept likely: float32 [1, 1, 3]."""
    saturation = 0.0 if rng.random() < 0.25 else rng.uniform(0.1, 1.0)
    return colour(rng.random(), saturation, rng.uniform(0.05, 1.0))


def colour(hue: float, saturation: float, value: float) -> Layer:
    """Turn hue, saturation and value (each 0 to 1) into float32 [1, 1, 3]."""
    rgb = colorsys.hsv_to_rgb(hue % 1.0, min(max(saturation, 0.0), 1.0), min(max(value, 0.0), 1.0))
    return np.array(rgb, np.float32).reshape(1, 1, 3)


def gradient(rng: np.random.Generator, size: int) -> Layer:
    """Blend two random colours along a random direction."""
    angle = rng.uniform(0, 2 * np.pi)
    axis = np.linspace(-0.7, 0.7, size, dtype=np.float32)
    ramp = np.clip(np.cos(angle) * axis[None, :] + np.sin(angle) * axis[:, None] + 0.5, 0, 1)
    return blend(ramp.astype(np.float32), random_colour(rng), random_colour(rng))


def clouds(rng: np.random.Generator, size: int) -> Layer:
    """Enlarge a tiny grid of random colours around one colour: soft blobs."""
    cells = int(rng.integers(2, 9))
    spread = rng.uniform(0.1, 0.5)
    grid = random_colour(rng) + spread * (rng.random((cells, cells, 3), dtype=np.float32) - 0.5)
    small = PillowImage.fromarray((np.clip(grid, 0, 1) * 255).astype(np.uint8))
    return np.asarray(small.resize((size, size), PillowImage.Resampling.BICUBIC), np.float32) / np.float32(255)


def random_layer(rng: np.random.Generator, size: int) -> Layer:
    """Draw a plain, graded or cloudy layer."""
    kind = rng.random()
    if kind < 0.4:
        return random_colour(rng)
    return gradient(rng, size) if kind < 0.65 else clouds(rng, size)


def blend(ink: Ink, background: Layer, foreground: Layer) -> Layer:
    """Lay the foreground over the background where the ink is: float32 [size, size, 3]."""
    alpha = ink[..., None]
    return background + alpha * (foreground - background)


def to_image(layer: Layer, rng: np.random.Generator) -> Image:
    """Add a little sensor noise to half of the images and round to uint8."""
    pixels = layer * 255
    if rng.random() < 0.5:
        pixels = pixels + rng.uniform(0, 12) * rng.standard_normal(layer.shape, dtype=np.float32)
    return np.clip(pixels, 0, 255).astype(np.uint8)


def paint(ink: Ink, rng: np.random.Generator) -> Image:
    """Colour the ink with a random foreground on a random background that differs from it in brightness."""
    size = ink.shape[0]
    background, foreground = random_layer(rng, size), random_layer(rng, size)
    if abs(float(background.mean()) - float(foreground.mean())) < 0.2:
        foreground = foreground * 0.3 if background.mean() > 0.5 else 1 - 0.3 * (1 - foreground)
    return to_image(blend(ink, background, foreground.astype(np.float32)), rng)
