from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from adaptertune_deploy.core.images.jpeg_scans import MAX_SEGMENTS, STEP, scans
from tests.builders import encode, make_image

SCAN = b"\xff\xda"


def repeated(image: Image.Image, times: int) -> bytes:
    """Return a progressive JPEG whose last scan comes so many times more; decoders take that without a word."""
    data = encode(image, "JPEG", progressive=True)
    return data[:-2] + data[data.rindex(SCAN) : -2] * times + data[-2:]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (encode(make_image(), "JPEG"), 1),
        (encode(make_image(mode="L"), "JPEG", progressive=True), 6),
        (encode(make_image(), "JPEG", progressive=True), 10),
        (repeated(make_image(), 500), 510),
        (encode(make_image(), "MPO", save_all=True, append_images=[make_image(seed=1)] * 3), 1),
        (encode(make_image(), "JPEG", exif=b"Exif\0\0" + SCAN * 100), 1),
        (encode(make_image(), "JPEG") + SCAN * 100, 1),
        (encode(make_image(), "PNG") + SCAN * 100, 1),
        (b"", 1),
        (b"\xff\xd8", 1),
        (b"\xff\xd8" + b"\xff\xe0\x00\x02" * 10_000, MAX_SEGMENTS),
        (b"\xff\xd8" + b"\xff" * 1_000_001, MAX_SEGMENTS),
        *((b"\xff\xd8" + bytes(size) + (SCAN + b"\0\2") * 3, 3) for size in range(STEP - 3, STEP + 2)),
    ],
)
def test_the_scans_of_the_first_image_are_counted(data: bytes, expected: int) -> None:
    assert scans(data) == expected


def test_photographs_are_counted_whatever_their_data_holds() -> None:
    """Noise at the highest quality has every byte in its coded data."""
    noise = Image.effect_noise((400, 300), 200)
    assert scans(encode(noise, "JPEG", quality=100)) == 1
    assert scans(encode(noise, "JPEG", quality=100, progressive=True)) == 6
    assert scans(encode(noise, "JPEG", quality=100, restart_marker_blocks=4)) == 1


@given(st.binary(max_size=300))
def test_any_bytes_have_a_number_of_scans(tail: bytes) -> None:
    assert 1 <= scans(b"\xff\xd8" + tail) <= 100
