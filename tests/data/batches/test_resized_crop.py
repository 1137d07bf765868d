"""data.batches.resized_crop: against torchvision's own, and Pillow's filters on the part that was cut."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import resized_crop as torchvisions

from adaptertune_deploy.core.images.preprocess import RESAMPLING
from adaptertune_deploy.data.batches.resized_crop import resized_crop

SIZES = {"smaller": (24, 40), "larger": (130, 110), "the same": (60, 50), "one pixel": (1, 1)}
BOX = (7, 5, 57, 65)


def photograph() -> Image.Image:
    """Return an image with coarse and fine detail."""
    generator = np.random.default_rng(0)
    coarse = Image.fromarray(generator.integers(0, 256, (9, 8, 3), dtype=np.uint8)).resize((80, 90))
    return Image.fromarray(np.asarray(coarse) // 2 + generator.integers(0, 128, (90, 80, 3), dtype=np.uint8))


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("name", ["nearest", "bilinear", "bicubic", "lanczos"])
def test_it_is_torchvisions_to_one_level(name: str, size: tuple[int, int]) -> None:
    image = photograph()
    left, top, right, bottom = BOX
    found = resized_crop(np.asarray(image), BOX, size, name)
    mode = InterpolationMode(name)
    expected = np.asarray(torchvisions(image, top, left, bottom - top, right - left, list(size), mode))
    assert (found.dtype, found.shape) == (np.uint8, (*size, 3))
    difference = np.abs(found.astype(int) - expected)
    assert difference.max() <= 1
    assert difference.mean() < 0.3
    cut = image.crop(BOX).resize(size[::-1], RESAMPLING[name])
    assert np.array_equal(np.asarray(cut), expected)


def test_pixels_that_can_t_be_written_to_are_taken_as_they_are() -> None:
    pixels = np.asarray(photograph())
    assert not pixels.flags.writeable
    found = resized_crop(pixels, (0, 0, 80, 90), (90, 80), "bicubic")
    assert np.array_equal(found, pixels)
    found[:] = 0
    assert pixels.any()
