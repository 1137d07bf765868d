"""The bytes of an image as Pillow reads them: piece by piece, and no more pieces than a real file has.

Pillow goes through a file's segments, chunks and padding in Python. Twenty megabytes that are made of nothing else, or
the twenty kilobytes that they compress to, would keep it busy for seconds before it knows the image's size.
"""

from __future__ import annotations

import io
from collections.abc import Callable

from adaptertune_deploy.core.errors import ImageError

# Of any file, and of each so many of its bytes: segments and chunks are mostly kilobytes, and a block is 512 bytes.
PIECES, BYTES_A_PIECE = 20_000, 256
# A run-length encoded BMP is read run by run: two pieces each, half a microsecond.
PIECES_OF_BMP = 200_000


class ImageReader(io.BytesIO):
    """An open file of bytes in memory."""

    def __init__(self, data: bytes, check: Callable[[], None] | None = None) -> None:
        """Open them; `check` is called before every read, and ends the reading by raising a RequestError."""
        super().__init__(data)
        self._check = check
        self._left = (PIECES_OF_BMP if data.startswith(b"BM") else PIECES) + len(data) // BYTES_A_PIECE

    def read(self, size: int | None = -1, /) -> bytes:
        """Read on.

        Raises:
            ImageError: 400, the file is in too many pieces.
            RequestError: what the check raised.
        """
        if self._check is not None:
            self._check()
        self._left -= 1
        if self._left < 0:
            raise ImageError("the image's file consists of too many small pieces; save it anew")
        return super().read(size)
