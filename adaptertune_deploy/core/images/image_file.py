"""Encoded images from files and pipes, no more of one than an image can have."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from adaptertune_deploy.core.errors import ImageError

MOST = 1_000_000_000  # bytes; the largest image that is read has 400 megapixels


def read_image(path: Path) -> bytes:
    """Return the bytes of a file, or what a pipe gives until its end.

    Raises:
        OSError: it can't be read.
        ImageError: it holds more than MOST bytes, as devices that never end do.
    """
    with open(path, "rb") as stream:
        return read_stream(stream, str(path))


def read_stream(stream: BinaryIO, name: str) -> bytes:
    """Return what is left of a stream; `name` is what messages call it. Raises ImageError: see read_image."""
    data = stream.read(MOST + 1)
    if len(data) > MOST:
        raise ImageError(f"{name}: holds more than {MOST:,} bytes, which no image has that is read; give an image file")
    return data
