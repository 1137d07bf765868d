"""Draw one image of the shapes dataset: a figure on a textured ground, with clutter behind it and before it."""

from __future__ import annotations

import colorsys
import math

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from adaptertune_deploy.data.samples import Pixels
from adaptertune_deploy.data.sources.drawn.outlines import HOLES, OUTLINES, Points

SIDE = 64
SUPERSAMPLING = 2

Colour = tuple[int, int, int]
Canvas = npt.NDArray[np.float32]
_GRID = np.stack(np.meshgrid(np.linspace(-1, 1, SIDE), np.linspace(-1, 1, SIDE))).astype(np.float32)


def draw(label: str, rng: np.random.Generator) -> Pixels:
    """Draw one figure with random colours, textures, place, size and turn, clutter behind it and before it.

    Args:
        label: a name of OUTLINES.
        rng: decides everything but the figure.

    Returns:
        uint8 [64, 64, 3] RGB.
    """
    hue = rng.random()
    dark, bright = rng.uniform(0.2, 0.6), rng.uniform(0.6, 1.0)
    behind, before = (dark, bright) if rng.random() < 0.5 else (bright, dark)
    canvas = _texture(hue, rng, light=behind)
    ink = _texture(hue + rng.uniform(0.2, 0.8), rng, light=before)
    canvas = _clutter(canvas, rng, count=int(rng.integers(2, 7)), size=(0.05, 0.16))
    mask = _mask(label, rng)
    shadow = np.roll(mask, rng.integers(-3, 4, size=2), axis=(0, 1))[:, :, None] * rng.uniform(0, 0.5)
    canvas = canvas * (1 - shadow)
    canvas = canvas + (ink - canvas) * mask[:, :, None] * rng.uniform(0.75, 1.0)
    canvas = _clutter(canvas, rng, count=int(rng.integers(0, 4)), size=(0.04, 0.12))
    canvas = canvas * (1 + rng.uniform(-0.3, 0.3) * _GRID[int(rng.integers(2))][:, :, None])
    canvas = canvas + rng.standard_normal(canvas.shape, dtype=np.float32) * rng.uniform(0, 14)
    return _rounded(canvas)


def _rounded(canvas: Canvas) -> Pixels:
    pixels: Pixels = np.clip(canvas, 0, 255).astype(np.uint8)
    return pixels


def _mask(label: str, rng: np.random.Generator) -> Canvas:
    """Return how much of each pixel the figure covers, float32 [64, 64] within 0..1."""
    place = _placement(rng)
    image = Image.new("L", (SIDE * SUPERSAMPLING, SIDE * SUPERSAMPLING))
    pen = ImageDraw.Draw(image)
    pen.polygon(_placed(OUTLINES[label](), *place), fill=255)
    if label in HOLES:
        pen.polygon(_placed(HOLES[label](), *place), fill=0)
    return np.asarray(image.reduce(SUPERSAMPLING)).astype(np.float32) / np.float32(255)


def _placement(rng: np.random.Generator) -> tuple[Points, Points]:
    """Return a 2x2 matrix and an offset in pixels that turn, stretch, size and move a figure."""
    angle, radius, stretch = rng.uniform(0, 2 * np.pi), rng.uniform(14, 25), rng.uniform(0.85, 1.18)
    cos, sin = np.cos(angle), np.sin(angle)
    matrix = radius * np.array([[cos, -sin], [sin, cos]]) @ np.diag((stretch, 1 / stretch))
    room = max(0.0, SIDE / 2 - 0.85 * radius)
    return matrix, SIDE / 2 + rng.uniform(-room, room, size=2)


def _placed(points: Points, matrix: Points, offset: Points) -> list[tuple[float, float]]:
    return [(x, y) for x, y in ((points @ matrix.T + offset) * SUPERSAMPLING).tolist()]


def _texture(hue: float, rng: np.random.Generator, light: float) -> Canvas:
    """Return a plain, graded, striped or dotted surface of two related colours, float32 [64, 64, 3] in 0..255."""
    first = _colour(hue, rng, light)
    second = _colour(hue + rng.uniform(-0.08, 0.08), rng, min(1.0, max(0.15, light + rng.uniform(-0.25, 0.25))))
    turn, period = rng.uniform(0, math.pi), rng.uniform(6, 18)
    across = math.cos(turn) * _GRID[0] + math.sin(turn) * _GRID[1]
    along = math.cos(turn) * _GRID[1] - math.sin(turn) * _GRID[0]
    kind = rng.integers(4)
    if kind == 0:
        weight = np.zeros_like(across)
    elif kind == 1:
        weight = (across + 1) / 2
    elif kind == 2:
        weight = np.clip(2 * np.sin(across * period) + 0.5, 0, 1)
    else:
        weight = np.clip(3 * np.sin(across * period) * np.sin(along * period) + 0.3, 0, 1)
    shades = np.array((first, second), dtype=np.float32)
    surface: Canvas = shades[0] + weight[:, :, None] * (shades[1] - shades[0])
    return surface


def _colour(hue: float, rng: np.random.Generator, light: float) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1.0, rng.uniform(0.25, 0.9), light)
    return int(255 * red), int(255 * green), int(255 * blue)


def _clutter(canvas: Canvas, rng: np.random.Generator, count: int, size: tuple[float, float]) -> Canvas:
    """Draw small discs, sticks and splinters over the canvas; `size` is a range of shares of the side."""
    image = Image.fromarray(_rounded(canvas))
    pen = ImageDraw.Draw(image)
    for _ in range(count):
        x, y = rng.uniform(0, SIDE, size=2)
        radius = SIDE * rng.uniform(*size) / 2
        colour = _colour(rng.random(), rng, rng.uniform(0.2, 1.0))
        kind = rng.integers(3)
        if kind == 0:
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
        elif kind == 1:
            dx, dy = rng.uniform(-3, 3, size=2) * radius
            pen.line((x - dx, y - dy, x + dx, y + dy), fill=colour, width=int(rng.integers(1, 4)))
        else:
            pen.polygon([(x + px, y + py) for px, py in rng.uniform(-radius, radius, size=(3, 2))], fill=colour)
    return np.asarray(image, dtype=np.float32)
