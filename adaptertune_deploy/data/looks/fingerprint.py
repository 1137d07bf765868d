"""What an image looks like in about 800 bytes, so that a copy is found however it was saved.

The hash is the perceptual hash of Zauner, "Implementation and benchmarking of perceptual image hash functions" (2010):
the signs, about their median, of the 63 lowest frequencies of the 32x32 grey image, without the constant one. That of
the mirrored image follows from the same frequencies: mirroring turns the sign of every odd horizontal one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

SIDE = 32
FREQUENCIES = 8
GRID = 16
# Below these an image has too little in it to be told from others by its look: blank pages, 8x8 digits.
LEAST_CONTRAST = 4.0
LEAST_SIDE = 16

_STEPS = np.arange(SIDE)
_COSINES = np.cos(np.pi * np.outer(np.arange(FREQUENCIES), 2 * _STEPS + 1) / (2 * SIDE))
_MIRROR = (-1.0) ** np.arange(FREQUENCIES)
_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601, as Pillow's "L"


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """One image.

    pixels: BLAKE2b (16 bytes) of its size and RGB values; equal for any two lossless files of one image.
    hash: 63 bits; few of them differ between an image and its re-encoded or resized copy.
    mirrored: the hash of the image with left and right exchanged.
    thumbnail: uint8 [16, 16, 3] RGB, C order.
    plain: whether it has too little in it to be told from others by its look; only equal pixels make it a copy.
    """

    pixels: bytes
    hash: int
    mirrored: int
    thumbnail: bytes
    plain: bool


def fingerprint(image: Image.Image) -> Fingerprint:
    """Return the fingerprint of an RGB image of any size."""
    digest = hashlib.blake2b(f"{image.width} {image.height} ".encode(), digest_size=16)
    digest.update(image.tobytes())
    small = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX), dtype=np.float64)
    grey = small @ _LUMA
    frequencies = _COSINES @ grey @ _COSINES.T
    step = SIDE // GRID
    thumbnail = small.reshape(GRID, step, GRID, step, 3).mean(axis=(1, 3))
    return Fingerprint(
        pixels=digest.digest(),
        hash=_bits(frequencies),
        mirrored=_bits(frequencies * _MIRROR),
        thumbnail=np.rint(thumbnail).astype(np.uint8).tobytes(),
        plain=bool(min(image.size) < LEAST_SIDE or grey.std() < LEAST_CONTRAST),
    )


def _bits(frequencies: npt.NDArray[np.float64]) -> int:
    """Return which of the frequencies, [vertical, horizontal], lie above their median, the first as highest bit."""
    low = frequencies.reshape(-1)[1:]
    above = low > np.median(low)
    return int.from_bytes(np.packbits(np.concatenate(([False], above))).tobytes(), "big")
