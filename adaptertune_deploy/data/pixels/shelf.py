"""One view of many images, found by their content: in files of the cache, else in memory as far as that reaches."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import PIL
from PIL import features

from adaptertune_deploy.core.errors import FormatError
from adaptertune_deploy.core.storage import files
from adaptertune_deploy.data.pixels.pixel_file import FORMAT_VERSION, PixelFile, PixelWriter
from adaptertune_deploy.data.pixels.views import View
from adaptertune_deploy.data.samples import Pixels

SUFFIX = ".pixels"
RESERVE = 1 << 30
STALE_S = 3600.0


class Memory:
    """So many bytes for decoded images that no file holds."""

    def __init__(self, budget: int) -> None:
        self.budget = self._left = budget

    def take(self, size: int) -> bool:
        """Return whether there was room for so many bytes, which are then taken."""
        if size > self._left:
            return False
        self._left -= size
        return True


class Shelf:
    """The images of one view.

    Args:
        view: how they are looked at.
        folder: of the files; None keeps everything in memory.
        limit: bytes of all files in the folder together; the files that were not used for longest go first.
        memory: where images are kept that no file holds.
    """

    def __init__(self, view: View, folder: Path | None, limit: int, memory: Memory) -> None:
        self.view = view
        self.refused: str | None = None
        self._folder, self._limit, self._memory = folder, limit, memory
        self._files: list[PixelFile] = []
        self._places: dict[str, tuple[int, int]] = {}
        self._kept: dict[str, Pixels] = {}
        self._met: set[str] = set()
        self._writer: PixelWriter | None = None
        self._order: Sequence[str] = ()

    def has(self, contents: Sequence[str]) -> bool:
        """Return whether all these images were put here, or lie in a file that was made of exactly them.

        Args:
            contents: SHA-256 of different images, sorted.
        """
        if self._met.issuperset(contents):
            return True
        path = self._path(contents)
        if path is None:
            return False
        try:
            found = PixelFile(path)
        except (FormatError, OSError):
            return False
        if len(found) != len(contents):
            return False
        with contextlib.suppress(OSError):
            os.utime(path)  # used: others go first
        self._add(found, contents)
        return True

    def get(self, content: str) -> Pixels | None:
        """Return an image, uint8 [height, width, 3]; None when it is not here or can't be decoded."""
        if content in self._places:
            file, index = self._places[content]
            return self._files[file][index]
        return self._kept.get(content)

    def keep(self, content: str, pixels: Pixels) -> None:
        """Keep an image in memory while there is room."""
        if content not in self._kept and self._memory.take(pixels.nbytes):
            self._kept[content] = pixels

    def empty(self, contents: Iterable[str]) -> list[str]:
        """Return those of the images that lie in a file and could not be decoded when it was made."""
        return [content for content in contents if content in self._places and self.get(content) is None]

    def begin(self, contents: Sequence[str]) -> None:
        """Get ready for all these images, which are then put here in this order; see `has`."""
        self._order = contents
        path = self._path(contents)
        if path is None:
            return
        expected = self.view.total(len(contents)) or 0
        try:
            self._writer = PixelWriter(path, len(contents))
            trim(path.parent, self._limit - expected)
            self._check_room(expected)
        except OSError as error:
            self._refuse(error)

    def put(self, content: str, pixels: Pixels | None) -> None:
        """Put an image here; None for one that can't be decoded."""
        self._met.add(content)
        if self._writer is not None:
            try:
                self._writer.append(pixels)
                self._check_room(0)
            except OSError as error:
                self._refuse(error)
        if self._writer is None and pixels is not None:
            self.keep(content, pixels)

    def finish(self) -> None:
        """Give the file its name."""
        if self._writer is None:
            return
        try:
            found = self._writer.finish()
        except OSError as error:
            self._refuse(error)
            return
        self._writer = None
        self._add(found, self._order)
        trim(found.path.parent, self._limit, found.path)

    def abandon(self) -> None:
        """Remove what was not finished."""
        if self._writer is not None:
            self._writer.abandon()
            self._writer = None

    def _add(self, file: PixelFile, contents: Sequence[str]) -> None:
        number = len(self._files)
        self._files.append(file)
        self._places.update((content, (number, index)) for index, content in enumerate(contents))
        self._met.update(contents)

    def _check_room(self, more: int) -> None:
        """Raise OSError when a file grows beyond the limit, or the disk would be filled up."""
        if self._writer is None:
            return
        if self._writer.size + more > self._limit:
            raise OSError(0, f"it may hold {self._limit / 1e9:.0f} GB, and these images need more")
        free = shutil.disk_usage(self._writer.path.parent).free
        if free < more + RESERVE:
            raise OSError(0, f"its disk has {free / 1e9:.1f} GB left, expected {(more + RESERVE) / 1e9:.1f} or more")

    def _refuse(self, error: OSError) -> None:
        self.refused = error.strerror or str(error)
        self.abandon()

    def _path(self, contents: Sequence[str]) -> Path | None:
        if self._folder is None:
            return None
        libraries = f"Pillow {PIL.__version__} {features.version('jpg')} {features.version('webp')}"
        digest = hashlib.sha256(f"{FORMAT_VERSION} {libraries} {self.view.facts}\n".encode())
        digest.update("\n".join(contents).encode())
        return self._folder / f"{digest.hexdigest()}{SUFFIX}"


def trim(folder: Path, limit: int, used: Path | None = None) -> None:
    """Remove what was never finished, and the files that were not used for longest, down to `limit` bytes.

    Args:
        folder: of the files.
        limit: bytes of all files together.
        used: a file that stays.
    """
    found = []
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            facts = path.stat()
            if path.suffix == SUFFIX:
                found.append((facts.st_mtime, facts.st_size, path))
            elif files.STAGE.fullmatch(path.name) and time.time() - facts.st_mtime > STALE_S:
                path.unlink()
    left = sum(size for _, size, _ in found)
    for _, size, path in sorted(found):
        if left <= limit:
            break
        if path != used:
            with contextlib.suppress(OSError):
                path.unlink()
                left -= size
