"""JPEG files as cameras and phones make them small: 500 x 375 pixels, about 50 kB, no two alike."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

SIZE, QUALITY = (500, 375), 90
GRAIN = 5.0  # standard deviation of what is drawn pixel by pixel


def photographs(count: int) -> list[bytes]:
    """Return so many, the same on every call: clouds of colour, sharp edges, and grain."""
    draw = np.random.default_rng(0)
    return [_photograph(draw) for _ in range(count)]


def _photograph(draw: np.random.Generator) -> bytes:
    layers = [_clouds(draw, cells) for cells in (3, 9, 27, 81)]
    mixed = np.average(layers, axis=0, weights=(0.5, 0.25, 0.15, 0.1))
    left, top = draw.integers(0, 300), draw.integers(0, 200)
    mixed[top : top + 150, left : left + 180] = 255 - mixed[top : top + 150, left : left + 180]
    pixels = mixed + draw.normal(0, GRAIN, mixed.shape)
    out = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(out, "JPEG", quality=QUALITY)
    return out.getvalue()


def _clouds(draw: np.random.Generator, cells: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    small = Image.fromarray(draw.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
    return np.asarray(small.resize(SIZE, Image.Resampling.BICUBIC), dtype=np.float64)
