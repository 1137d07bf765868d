"""Which way up an image is to be seen: the orientation that cameras write into EXIF (CIPA DC-008, tag 0x0112).

Read here and not by Pillow's reader of EXIF, which copies every field of a file that somebody made to be expensive.
"""

from __future__ import annotations

import struct

from PIL import Image

UPRIGHT = 1
TAG = 0x0112
SHORT, LONG = 3, 4
# As PIL.ImageOps.exif_transpose.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def upright(image: Image.Image, exif: bytes) -> Image.Image:
    """Return an image as people see it.

    Args:
        image: as it is stored.
        exif: the file's EXIF block, with or without "Exif" before it; one that is damaged turns nothing.
    """
    turn = TURNS.get(orientation_of(exif))
    return image if turn is None else image.transpose(turn)


def orientation_of(exif: bytes) -> int:
    """Return the orientation that an EXIF block names, 1 to 8; 1, upright, where it names none that can be read."""
    block = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    try:
        return UPRIGHT if order is None else _find(block, order)
    except struct.error:  # the block ends before what it points at
        return UPRIGHT


def _find(block: bytes, order: str) -> int:
    (start,) = struct.unpack_from(f"{order}I", block, 4)
    (fields,) = struct.unpack_from(f"{order}H", block, start)
    for field in range(fields):
        place = start + 2 + 12 * field
        tag, kind, count = struct.unpack_from(f"{order}HHI", block, place)
        if tag == TAG and count == 1 and kind in (SHORT, LONG):
            (value,) = struct.unpack_from(f"{order}{'H' if kind == SHORT else 'I'}", block, place + 8)
            return int(value) if value in TURNS else UPRIGHT
    return UPRIGHT
