from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageOps
from scipy.fft import dctn

from adaptertune_deploy.data.looks.fingerprint import fingerprint
from tests.data.scenes import scene


def saved(image: Image.Image, kind: str, **options: object) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return Image.open(io.BytesIO(stream.getvalue())).convert("RGB")


def bits_of(image: Image.Image) -> int:
    """Return the hash by scipy's cosine transform and plain loops."""
    small = np.asarray(image.resize((32, 32), Image.Resampling.BOX), dtype=np.float64)
    grey = 0.299 * small[:, :, 0] + 0.587 * small[:, :, 1] + 0.114 * small[:, :, 2]
    low = dctn(grey, type=2)[:8, :8].reshape(-1)[1:]
    return int("".join("1" if value > np.median(low) else "0" for value in low), 2)


@pytest.mark.parametrize("seed", range(5))
def test_the_hash_is_that_of_another_implementation(seed: int) -> None:
    image = scene(seed)
    found = fingerprint(image)
    assert found.hash == bits_of(image)
    assert 0 <= found.hash < 1 << 63
    assert bin(found.hash).count("1") == 31


def test_the_mirrored_hash_is_that_of_the_mirrored_image() -> None:
    image = scene(1, (64, 96))
    assert fingerprint(image).mirrored == fingerprint(ImageOps.mirror(image)).hash
    assert fingerprint(image).mirrored != fingerprint(image).hash


def test_pixels_are_equal_for_every_lossless_file_and_differ_for_a_changed_pixel() -> None:
    image = scene(2)
    expected = fingerprint(image).pixels
    for kind, options in (("PNG", {}), ("BMP", {}), ("WEBP", {"lossless": True})):
        assert fingerprint(saved(image, kind, **options)).pixels == expected
    assert fingerprint(saved(image, "JPEG")).pixels != expected
    changed = image.copy()
    changed.putpixel((3, 3), tuple(value ^ 1 for value in image.getpixel((3, 3))))
    assert fingerprint(changed).pixels != expected


def test_a_reshaped_image_has_other_pixels() -> None:
    flat = np.zeros((16, 16, 3), dtype=np.uint8)
    assert fingerprint(Image.fromarray(flat)).pixels != fingerprint(Image.fromarray(flat.reshape(8, 32, 3))).pixels


def test_the_thumbnail_is_the_mean_of_blocks() -> None:
    image = scene(3, (160, 320))
    expected = np.asarray(image, dtype=np.float64).reshape(16, 20, 16, 10, 3).mean(axis=(1, 3))
    found = np.frombuffer(fingerprint(image).thumbnail, dtype=np.uint8).reshape(16, 16, 3)
    assert np.abs(found - expected).max() <= 1.01  # rounded twice


def noise(side: int, spread: int) -> Image.Image:
    values = np.random.default_rng(0).integers(128 - spread, 129 + spread, (side, side, 3))
    return Image.fromarray(values.astype(np.uint8))


@pytest.mark.parametrize(
    ("image", "plain"),
    [
        (Image.new("RGB", (100, 100), (250, 250, 250)), True),
        (noise(32, 3), True),
        (noise(32, 60), False),
        (scene(4), False),
        (scene(4, (16, 16)), False),
        (scene(4, (200, 15)), True),
    ],
    ids=["blank", "nearly constant", "grainy", "scene", "small", "smaller"],
)
def test_what_is_too_plain_to_be_told_apart(image: Image.Image, plain: bool) -> None:
    assert fingerprint(image).plain is plain
