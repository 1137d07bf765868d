"""Decoded images kept in memory, so that a file is decoded once and not once an epoch."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image

from adaptertune_deploy.core.progress import Progress, silent
from adaptertune_deploy.data.samples import Pixels, Split

CHUNK = 64


class DecodedImages:
    """The images of a split, decoded, as far as a byte budget reaches; the others are decoded on every read.

    Args:
        split: the images.
        budget: bytes that may be kept, at 3 bytes a pixel.
        shorter_side: images whose shorter side is longer are reduced to it first, in pixels; None keeps them.
    """

    def __init__(self, split: Split, budget: int, shorter_side: int | None = None) -> None:
        self.split = split
        self._left = budget
        self._shorter_side = shorter_side
        self._kept: dict[int, Pixels] = {}

    def __len__(self) -> int:
        return len(self.split)

    @property
    def kept(self) -> int:
        """Number of images in memory."""
        return len(self._kept)

    def fill(self, progress: Progress = silent, what: str = "decoding images") -> None:
        """Decode until every image is kept or the budget is used up, on as many threads as there are cores.

        Raises:
            DatasetError: an image is absent or damaged; training would have met it later.
        """
        total = len(self.split)
        progress(what, 0, total)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for start in range(0, total, CHUNK):
                rows = range(start, min(start + CHUNK, total))
                for row, pixels in zip(rows, pool.map(self._decode, rows), strict=True):
                    if not self._keep(row, pixels):
                        progress(what, total, total)
                        return
                progress(what, rows.stop, total)

    def image(self, row: int) -> Image.Image:
        """Return the RGB image of a row.

        Raises:
            DatasetError: absent or damaged.
        """
        pixels = self._kept.get(row)
        if pixels is None:
            pixels = self._decode(row)
            self._keep(row, pixels)
        return Image.fromarray(pixels)

    def _keep(self, row: int, pixels: Pixels) -> bool:
        if row not in self._kept:
            if pixels.nbytes > self._left:
                return False
            self._left -= pixels.nbytes
            self._kept[row] = pixels
        return True

    def _decode(self, row: int) -> Pixels:
        image = self.split.image(row)
        side = self._shorter_side
        if side is not None and min(image.size) > side:
            share = side / min(image.size)
            width, height = (max(side, round(length * share)) for length in image.size)
            image = image.resize((width, height), Image.Resampling.BICUBIC)
        return np.asarray(image)
