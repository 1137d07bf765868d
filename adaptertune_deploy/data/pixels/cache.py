"""The pixels that training and evaluation read: every image is decoded once, in parallel, and kept on the disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from adaptertune_deploy.core import cores
from adaptertune_deploy.core.errors import DatasetError
from adaptertune_deploy.core.progress import Progress, silent
from adaptertune_deploy.core.spec import PreprocessSpec
from adaptertune_deploy.core.storage.cache import cache_folder
from adaptertune_deploy.data.pixels.room import Room
from adaptertune_deploy.data.pixels.shelf import Memory, Shelf
from adaptertune_deploy.data.pixels.views import Reduced, Served, View, make
from adaptertune_deploy.data.samples import Pixels, Split

KIND = "pixels"
WHAT = "decoding images"
DISK_BYTES = 20_000_000_000
MEMORY_BYTES = 1 << 30
# Decoded at the same time, at 3 bytes each; an image of more is decoded alone.
PIXELS_AT_ONCE = 200_000_000
CHUNK = 64


class PixelCache:
    """Decoded images in the view that is served and, for training, in a reduced one; found by their content.

    So one cache serves a split, every part of it, and a later run on the same images.

    Args:
        spec: the backbone's preprocessing.
        folder: holds the files, which may be removed at any time; $ATD_CACHE/pixels by default.
        disk_bytes: most bytes of all files there.
        memory_bytes: for images that the disk can't take.
    """

    def __init__(
        self,
        spec: PreprocessSpec,
        folder: Path | None = None,
        *,
        disk_bytes: int = DISK_BYTES,
        memory_bytes: int = MEMORY_BYTES,
    ) -> None:
        self.spec = spec
        self._folder = folder or cache_folder(KIND)
        self._memory = Memory(memory_bytes)
        views: tuple[View, View] = (Served(spec), Reduced(2 * max(spec.size), spec.orientation))
        self._served, self._reduced = (Shelf(view, self._folder, disk_bytes, self._memory) for view in views)
        self._bad: dict[str, str] = {}

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know: that the disk did not take the images."""
        refused = self._served.refused or self._reduced.refused
        if refused is None:
            return ()
        return (
            f"decoded images can't be kept in {self._folder} ({refused}): {self._memory.budget / 1e9:.1f} GB of them "
            "stay in memory, others are decoded whenever they are needed; ATD_CACHE=FOLDER names another place",
        )

    def fill(self, split: Split, *, reduced: bool = False, progress: Progress = silent) -> dict[str, str]:
        """Decode a split, as far as that was not done before.

        Args:
            split: the images.
            reduced: whether they will be augmented; otherwise only the served view is made.
            progress: told as the work goes on.

        Returns:
            Name -> reason of every image that can't be used: damaged, too large, no image, or not to be resized.

        Raises:
            DatasetError: a file is absent.
        """
        rows: dict[str, int] = {}
        contents = split.contents(progress)
        for row, content in enumerate(contents):
            rows.setdefault(content, row)
        wanted = sorted(rows)
        shelves = (self._served, self._reduced) if reduced else (self._served,)
        lacking = [shelf for shelf in shelves if not shelf.has(wanted)]
        if lacking:
            self._decode(split, {content: rows[content] for content in wanted}, lacking, progress)
        self._explain(split, rows)
        return {
            name: self._bad[content]
            for name, content in zip(split.names, contents, strict=True)
            if content in self._bad
        }

    def served(self, split: Split, row: int) -> Pixels:
        """Return an image as the server prepares it, before it is normalised: uint8 [H, W, 3].

        Raises:
            DatasetError: absent or damaged.
        """
        return self._get(self._served, split, row)

    def reduced(self, split: Split, row: int) -> Pixels:
        """Return an RGB image with a shorter side of at most twice the model's, uint8 [h, w, 3], not to be written to.

        Raises:
            DatasetError: absent or damaged.
        """
        return self._get(self._reduced, split, row)

    def _get(self, shelf: Shelf, split: Split, row: int) -> Pixels:
        content = split.hashes.get(split.names[row])
        pixels = None if content is None else shelf.get(content)
        if pixels is None:
            (pixels,) = make(split, row, (shelf.view,), self.spec.orientation)
            if content is not None:
                shelf.keep(content, pixels)
        return pixels

    def _decode(self, split: Split, rows: Mapping[str, int], shelves: Sequence[Shelf], progress: Progress) -> None:
        """Put images on shelves; rows: content -> a row that holds it, in the order of the contents."""
        contents = list(rows)
        work = partial(_attempt, split, [shelf.view for shelf in shelves], self.spec.orientation, Room(PIXELS_AT_ONCE))
        progress(WHAT, 0, len(contents))
        try:
            for shelf in shelves:
                shelf.begin(contents)
            with ThreadPoolExecutor(cores.usable(cores.read_small)) as pool:
                for start in range(0, len(contents), CHUNK):
                    part = contents[start : start + CHUNK]
                    for content, made in zip(part, pool.map(work, [rows[content] for content in part]), strict=True):
                        if isinstance(made, str):
                            self._bad[content] = made
                        for number, shelf in enumerate(shelves):
                            shelf.put(content, None if isinstance(made, str) else made[number])
                    progress(WHAT, start + len(part), len(contents))
            for shelf in shelves:
                shelf.finish()
        finally:
            for shelf in shelves:
                shelf.abandon()

    def _explain(self, split: Split, rows: Mapping[str, int]) -> None:
        """Find the reasons of images that an earlier run could not decode; its files only say which they are."""
        for content in self._served.empty(rows):
            if content not in self._bad:
                made = _attempt(split, [self._served.view], self.spec.orientation, Room(PIXELS_AT_ONCE), rows[content])
                if isinstance(made, str):
                    self._bad[content] = made


def _attempt(split: Split, views: Sequence[View], orientation: str, room: Room, row: int) -> tuple[Pixels, ...] | str:
    """Return an image's views, or why it has none."""
    try:
        width, height = split.size(row)
        with room.take(width * height):
            return make(split, row, views, orientation)
    except DatasetError as error:
        return str(error)
