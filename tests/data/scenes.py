"""Pictures that differ from one another as photographs do: smooth patches of colour with some grain."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (240, 232)


def scene(seed: int, size: tuple[int, int] = SIZE) -> Image.Image:
    """Return an RGB image; two seeds give two unrelated ones."""
    generator = np.random.default_rng(seed)
    patches = Image.fromarray(generator.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    smooth = np.asarray(patches.resize(size, Image.Resampling.BICUBIC), dtype=np.int16)
    grain = generator.integers(-6, 7, smooth.shape, dtype=np.int16)
    return Image.fromarray(np.clip(smooth + grain, 0, 255).astype(np.uint8))


def save_scene(path: Path, seed: int, size: tuple[int, int] = SIZE, **options: object) -> Path:
    """Write a scene; the suffix says in which format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scene(seed, size).save(path, **options)
    return path
