from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest

from adaptertune_deploy.core.errors import ImageError, RequestError
from adaptertune_deploy.core.images import preprocess
from adaptertune_deploy.core.images.image_reader import BYTES_A_PIECE, PIECES, ImageReader
from tests.builders import encode, make_image


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(*before: bytes) -> bytes:
    """Return a PNG with whole chunks before its pixels."""
    whole = encode(make_image())
    place = whole.index(b"IDAT") - 4
    return whole[:place] + b"".join(before) + whole[place:]


def run_length_bmp(width: int, height: int, run: int) -> bytes:
    """Return a BMP of runs of so many pixels, each row of another gray."""
    rows = b"".join(bytes([run, row % 256]) * (width // run) + b"\0\0" for row in range(height)) + b"\0\1"
    palette = b"".join(bytes([gray, gray, gray, 0]) for gray in range(256))
    begin = 54 + len(palette)
    head = b"BM" + struct.pack("<IHHI", begin + len(rows), 0, 0, begin)
    return head + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(rows), 0, 0, 256, 0) + palette + rows


def test_a_run_length_encoded_bmp_is_read() -> None:
    pixels = np.asarray(preprocess.decode(run_length_bmp(320, 240, 4)))
    expected = np.arange(240, dtype=np.uint8)[::-1, None, None]
    np.testing.assert_array_equal(pixels, np.broadcast_to(expected, (240, 320, 3)))


MANY = 2_000_000
SLOW = {
    "padding of a JPEG": b"\xff\xd8" + b"\xff" * MANY,
    "segments of a JPEG": b"\xff\xd8" + b"\xff\xe1\x00\x02" * (MANY // 4),
    "bytes between segments of a JPEG": b"\xff\xd8" + b"\xff\x00" * (MANY // 2),
    "chunks of a PNG": png(chunk(b"prVt") * (MANY // 12)),
    "chunks of pixels of a PNG": png(chunk(b"IDAT") * (MANY // 12)),
    "runs of a BMP": run_length_bmp(1000, 600, 1),
    "comments of a GIF": b"GIF89a\x08\x00\x08\x00\x00\x00\x00" + b"\x21\xfe\x01a\x00" * (MANY // 5),
}


@pytest.mark.case(
    "D9", "20 MB, or 20 kB compressed, of padding, segments or chunks around an image", "400 after some thousands"
)
@pytest.mark.parametrize("data", SLOW.values(), ids=SLOW)
def test_an_image_in_too_many_pieces_is_refused(data: bytes) -> None:
    with pytest.raises(ImageError, match="too many small pieces") as caught:
        preprocess.decode(data)
    assert caught.value.status == 400


def test_a_file_with_much_beside_its_pixels_is_read() -> None:
    for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP"):
        preprocess.decode(encode(make_image(300, 200), kind))
    preprocess.decode(png(*[chunk(b"tEXt", b"key\0value")] * 1000))


def test_pieces_are_counted_and_checked() -> None:
    reader = ImageReader(bytes(10 * BYTES_A_PIECE))
    for _ in range(PIECES + 10):
        reader.read(1)
    with pytest.raises(ImageError):
        reader.read(1)

    def check() -> None:
        raise RequestError("enough")

    with pytest.raises(RequestError, match=r"^enough$"):
        ImageReader(b"x", check).read()
