"""Pixels of many images in one file of the cache, mapped into memory: owned here, see docs/formats.md.

    8 bytes    ATDPIX and the version
    int64      N, number of images
    int64      [N, 3] place in the file, height and width of each image; all 0 for one that could not be decoded
    uint8      the pixels, [height, width, 3] each

Numbers are little-endian. A file gets its name when it is whole.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from adaptertune_deploy.core.errors import FormatError

Pixels = npt.NDArray[np.uint8]

FORMAT_VERSION = 1
MAGIC = b"ATDPIX\0" + bytes([FORMAT_VERSION])
START = len(MAGIC) + 8
ENTRY = np.dtype("<i8")


class PixelFile:
    """An open file; its pixels are read when they are asked for, and another process may share or remove it.

    Raises:
        FormatError: not such a file, or not whole.
        OSError: not readable.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._bytes = np.memmap(path, dtype=np.uint8, mode="r") if path.stat().st_size else np.empty(0, np.uint8)
        if self._bytes[: len(MAGIC)].tobytes() != MAGIC or len(self._bytes) < START:
            raise FormatError(f"{path}: is no file of pixels of version {FORMAT_VERSION}")
        count = int(self._bytes[len(MAGIC) : START].view(ENTRY)[0])
        table = self._bytes[START : START + 24 * max(count, 0)]
        if count < 0 or len(table) != 24 * count:
            raise FormatError(f"{path}: ends within its table")
        self._table = table.view(ENTRY).reshape(count, 3)
        sizes = 3 * self._table[:, 1] * self._table[:, 2]
        if self._table.min(initial=0) < 0 or len(self._bytes) != START + 24 * count + sizes.sum():
            raise FormatError(f"{path}: holds {len(self._bytes):,} bytes, other than its table says")

    def __len__(self) -> int:
        return len(self._table)

    def __getitem__(self, index: int) -> Pixels | None:
        """Return an image, uint8 [H, W, 3], not to be written to; None for one that could not be decoded."""
        place, height, width = self._table[index].tolist()
        if not height:
            return None
        pixels: Pixels = np.asarray(self._bytes[place : place + 3 * height * width]).reshape(height, width, 3)
        return pixels

    def __reduce__(self) -> tuple[type[PixelFile], tuple[Path]]:
        return PixelFile, (self.path,)  # a worker maps the file itself: its pixels are not sent


class PixelWriter:
    """Writes a file of `count` images under a temporary name beside `path`.

    Raises:
        OSError: the folder can't be written.
    """

    def __init__(self, path: Path, count: int) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)  # somebody's own images: nobody else's to read
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.new.")
        self._stage, self._stream = Path(name), os.fdopen(descriptor, "wb")
        self._table = np.zeros((count, 3), dtype=ENTRY)
        self._written = 0
        self._place = START + self._table.nbytes
        self._stream.seek(self._place)

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self._place

    def append(self, pixels: Pixels | None) -> None:
        """Write the next image; None for one that can't be decoded."""
        if pixels is not None:
            self._table[self._written] = (self._place, *pixels.shape[:2])
            self._stream.write(np.ascontiguousarray(pixels).data)
            self._place += pixels.nbytes
        self._written += 1

    def finish(self) -> PixelFile:
        """Give the file its name and open it."""
        if self._written != len(self._table):
            raise ValueError(f"{self._written} of {len(self._table)} images were written")
        self._stream.seek(0)
        self._stream.write(MAGIC + np.array([len(self._table)], dtype=ENTRY).tobytes() + self._table.tobytes())
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._stream.close()
        self._stage.replace(self.path)
        return PixelFile(self.path)

    def abandon(self) -> None:
        """Remove what was written; nothing when the file is finished."""
        self._stage.unlink(missing_ok=True)
        try:
            self._stream.close()
        except OSError:  # what it still held back finds no room either
            return
