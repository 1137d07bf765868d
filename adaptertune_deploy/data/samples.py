"""Labelled images as training sees them: names, classes and a way to read each one."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from adaptertune_deploy.core.errors import DatasetError, FormatError, ImageError
from adaptertune_deploy.core.images import preprocess
from adaptertune_deploy.core.progress import Progress, silent
from adaptertune_deploy.core.storage import files
from adaptertune_deploy.data.contents import hash_all

Targets = npt.NDArray[np.int64]
Pixels = npt.NDArray[np.uint8]
LARGEST_FILE = 1 << 31


class Reader(Protocol):
    """Reads one image by its name."""

    def image(self, name: str, orientation: str = "exif", at_least: int | None = None) -> Image.Image:
        """Return the decoded RGB image.

        Args:
            name: of the image.
            orientation: "exif" or "ignored"; see PreprocessSpec.
            at_least: pixels of the shorter side that will do, if fewer are decoded faster; see preprocess.decode.

        Raises:
            DatasetError: the file is absent or no image.
        """

    def size(self, name: str) -> tuple[int, int]:
        """Return (width, height) in pixels as they are stored, without decoding.

        Raises:
            DatasetError: the file is absent or no image.
        """

    def encoded(self, name: str) -> tuple[bytes, str]:
        """Return the image as the bytes of a file, and that file's suffix in lower case (".jpg")."""

    def sha256(self, name: str) -> str:
        """Return the hexadecimal SHA-256 of what is stored; two images of one hash are the same image.

        Raises:
            DatasetError: the file is absent.
        """


@dataclass(frozen=True)
class FileReader:
    """Images that are files; a name is a POSIX path below `root`."""

    root: Path

    def image(self, name: str, orientation: str = "exif", at_least: int | None = None) -> Image.Image:
        """Return the decoded RGB image; one of more than MAX_OFFLINE_PIXELS is refused."""
        data, _ = self.encoded(name)
        try:
            return preprocess.decode(data, orientation, preprocess.MAX_OFFLINE_PIXELS, at_least)
        except ImageError as error:
            raise self._error(name, error) from None

    def size(self, name: str) -> tuple[int, int]:
        """Return (width, height) from the file's header."""
        try:
            return preprocess.size_of(self.encoded(name)[0])
        except ImageError as error:
            raise self._error(name, error) from None

    def encoded(self, name: str) -> tuple[bytes, str]:
        """Return the file's bytes as they are."""
        try:
            return files.read_regular(self.root / name, LARGEST_FILE), PurePosixPath(name).suffix.lower()
        except FormatError as error:
            raise DatasetError(f"{error}; replace or remove this file") from None

    def sha256(self, name: str) -> str:
        """Return the hash of the file's bytes."""
        return files.sha256_bytes(self.encoded(name)[0])

    def _error(self, name: str, error: ImageError) -> DatasetError:
        found = str(error).partition(";")[0]  # what follows is advice for a client
        return DatasetError(f"{self.root / name}: {found}; replace or remove this file")


@dataclass(frozen=True, eq=False)
class ArrayReader:
    """Images in memory: name -> uint8 [H, W, 3] RGB."""

    pixels: Mapping[str, Pixels]

    def image(self, name: str, orientation: str = "exif", at_least: int | None = None) -> Image.Image:
        """Return the RGB image; pixels in memory have no orientation and need no decoding."""
        return Image.fromarray(self.pixels[name], "RGB")

    def size(self, name: str) -> tuple[int, int]:
        """Return (width, height) of the array."""
        height, width = self.pixels[name].shape[:2]
        return width, height

    def encoded(self, name: str) -> tuple[bytes, str]:
        """Return the image as PNG, which keeps every pixel."""
        stream = io.BytesIO()
        self.image(name).save(stream, format="PNG")
        return stream.getvalue(), ".png"

    def sha256(self, name: str) -> str:
        """Return the hash of the shape and the pixels."""
        pixels = self.pixels[name]
        return files.sha256_bytes(repr(pixels.shape).encode() + pixels.tobytes())


@dataclass(frozen=True, eq=False)
class Split:
    """A sequence of labelled images.

    names: stable and unique, for instance file names below the dataset's folder.
    targets: int64 [N], index of each image's class.
    reader: reads them by name.
    hashes: name -> SHA-256 of the contents that were hashed so far; splits taken from one another share it.
    """

    names: tuple[str, ...]
    targets: Targets
    reader: Reader
    hashes: dict[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.targets.dtype != np.int64 or self.targets.shape != (len(self.names),):
            raise ValueError(
                f"targets are {self.targets.dtype} {list(self.targets.shape)}, expected int64 [{len(self.names)}]"
            )
        if len(set(self.names)) != len(self.names):
            raise ValueError("sample names are not unique")

    def __len__(self) -> int:
        return len(self.names)

    def image(self, index: int, orientation: str = "exif", at_least: int | None = None) -> Image.Image:
        """Return the decoded RGB image of row `index`; see Reader.image."""
        return self.reader.image(self.names[index], orientation, at_least)

    def size(self, index: int) -> tuple[int, int]:
        """Return (width, height) of row `index` in pixels as they are stored, without decoding."""
        return self.reader.size(self.names[index])

    def encoded(self, index: int) -> tuple[bytes, str]:
        """Return the bytes of row `index` as a file, and its suffix; a file on disk is handed on unchanged."""
        return self.reader.encoded(self.names[index])

    def contents(self, progress: Progress = silent) -> tuple[str, ...]:
        """Return the SHA-256 of each image's content, in the split's order; computed once and kept.

        Raises:
            DatasetError: a file is absent.
        """
        for found in self.absent(progress).values():
            raise DatasetError(found)
        return tuple(self.hashes[name] for name in self.names)

    def absent(self, progress: Progress = silent) -> dict[str, str]:
        """Hash what was not hashed before; returns name -> what was found instead, for files that can't be read."""
        missing = [name for name in self.names if name not in self.hashes]
        if not missing:
            return {}
        hashes, absent = hash_all(self.reader.sha256, missing, progress)
        self.hashes.update(hashes)
        return absent

    def take(self, rows: Sequence[int] | npt.NDArray[np.integer]) -> Split:
        """Return the split of these rows, in this order."""
        chosen = np.asarray(rows, dtype=np.int64)
        return Split(tuple(self.names[row] for row in chosen), self.targets[chosen], self.reader, self.hashes)


def join(first: Split, second: Split) -> Split:
    """Return the rows of `first`, then those of `second`; both come from one dataset and share its reader."""
    if first.reader is not second.reader:
        raise ValueError("only splits of one dataset can be joined")
    targets = np.concatenate((first.targets, second.targets))
    return Split(first.names + second.names, targets, first.reader, {**first.hashes, **second.hashes})


@dataclass(frozen=True, eq=False)
class Dataset:
    """A dataset with its official splits.

    name: as given to `atd train --dataset`.
    task: default name of the task trained on it.
    labels: in the order of the targets.
    val, test: None when the dataset has no such split.
    licence: the publisher's terms, or a sentence saying that they are unknown.
    non_commercial: None when the terms are unknown.
    redistributable: whether the terms let its images be handed on by whoever has them; False when they are unknown.
    augment: name of the training preset (data.batches.augment.PRESETS).
    notes: what a person should know, one line each.
    skipped: names of images that are absent or unreadable and were left out on request.
    hub_id: the dataset on the Hugging Face Hub, where it is known to be the same.
    folder: where its images lie, when it is one of the user's own folders.

    Raises:
        DatasetError: fewer than two classes, repeated labels, a class without a training image, a target without a
            label, or an image that is in two splits.
    """

    name: str
    task: str
    labels: tuple[str, ...]
    train: Split
    val: Split | None
    test: Split | None
    licence: str
    non_commercial: bool | None
    redistributable: bool
    augment: str
    notes: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    hub_id: str | None = None
    folder: Path | None = None

    @property
    def parts(self) -> dict[str, Split]:
        """The splits that there are, by name."""
        parts = {"train": self.train, "val": self.val, "test": self.test}
        return {name: split for name, split in parts.items() if split is not None}

    def __post_init__(self) -> None:
        if len(self.labels) < 2:
            raise DatasetError(f"{self.name}: has {len(self.labels)} classes, expected at least 2")
        if len(set(self.labels)) != len(self.labels):
            raise DatasetError(f"{self.name}: two classes have the same label; rename one of them")
        if len(self.train) == 0:
            raise DatasetError(f"{self.name}: has no training image")
        seen: set[str] = set()
        for split in self.parts.values():
            if len(split) and not 0 <= split.targets.min() <= split.targets.max() < len(self.labels):
                raise DatasetError(f"{self.name}: an image has a class outside 0..{len(self.labels) - 1}")
            twice = seen.intersection(split.names)
            if twice:
                raise DatasetError(f"{self.name}: {min(twice)} is in two splits; remove it from one")
            seen.update(split.names)
        untrained = sorted(set(range(len(self.labels))) - set(self.train.targets.tolist()))
        if untrained:
            raise DatasetError(f"{self.name}: class '{self.labels[untrained[0]]}' has no training image")
