"""Labelled images as training sees them: names, classes and a way to read each one."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from adaptertune_deploy.core import preprocess
from adaptertune_deploy.core.errors import DatasetError, ImageError

Targets = npt.NDArray[np.int64]
Pixels = npt.NDArray[np.uint8]


class Reader(Protocol):
    """Reads one image by its name."""

    def image(self, name: str) -> Image.Image:
        """Return the decoded RGB image.

        Raises:
            DatasetError: the file is absent or no image.
        """

    def encoded(self, name: str) -> tuple[bytes, str]:
        """Return the image as the bytes of a file, and that file's suffix in lower case (".jpg")."""


@dataclass(frozen=True)
class FileReader:
    """Images that are files; a name is a POSIX path below `root`."""

    root: Path

    def image(self, name: str) -> Image.Image:
        """Return the decoded RGB image."""
        data, _ = self.encoded(name)
        try:
            return preprocess.decode(data)
        except ImageError as error:
            found = str(error).partition(";")[0]  # what follows is advice for a client
            raise DatasetError(f"{self.root / name}: {found}; replace or remove this file") from None

    def encoded(self, name: str) -> tuple[bytes, str]:
        """Return the file's bytes as they are."""
        path = self.root / name
        try:
            return path.read_bytes(), PurePosixPath(name).suffix.lower()
        except OSError as error:
            raise DatasetError(f"{path}: can't be read ({error.strerror}); was it removed or renamed?") from None


@dataclass(frozen=True, eq=False)
class ArrayReader:
    """Images in memory: name -> uint8 [H, W, 3] RGB."""

    pixels: Mapping[str, Pixels]

    def image(self, name: str) -> Image.Image:
        """Return the RGB image."""
        return Image.fromarray(self.pixels[name], "RGB")

    def encoded(self, name: str) -> tuple[bytes, str]:
        """Return the image as PNG, which keeps every pixel."""
        stream = io.BytesIO()
        self.image(name).save(stream, format="PNG")
        return stream.getvalue(), ".png"


@dataclass(frozen=True, eq=False)
class Split:
    """A sequence of labelled images.

    names: stable and unique, for instance file names below the dataset's folder.
    targets: int64 [N], index of each image's class.
    """

    names: tuple[str, ...]
    targets: Targets
    reader: Reader

    def __post_init__(self) -> None:
        if self.targets.dtype != np.int64 or self.targets.shape != (len(self.names),):
            raise ValueError(
                f"targets are {self.targets.dtype} {list(self.targets.shape)}, expected int64 [{len(self.names)}]"
            )
        if len(set(self.names)) != len(self.names):
            raise ValueError("sample names are not unique")

    def __len__(self) -> int:
        return len(self.names)

    def image(self, index: int) -> Image.Image:
        """Return the decoded RGB image of row `index`."""
        return self.reader.image(self.names[index])

    def encoded(self, index: int) -> tuple[bytes, str]:
        """Return the bytes of row `index` as a file, and its suffix; a file on disk is handed on unchanged."""
        return self.reader.encoded(self.names[index])

    def take(self, rows: Sequence[int] | npt.NDArray[np.integer]) -> Split:
        """Return the split of these rows, in this order."""
        chosen = np.asarray(rows, dtype=np.int64)
        return Split(tuple(self.names[row] for row in chosen), self.targets[chosen], self.reader)


def join(first: Split, second: Split) -> Split:
    """Return the rows of `first`, then those of `second`; both come from one dataset and share its reader."""
    if first.reader is not second.reader:
        raise ValueError("only splits of one dataset can be joined")
    return Split(first.names + second.names, np.concatenate((first.targets, second.targets)), first.reader)


@dataclass(frozen=True, eq=False)
class Dataset:
    """A dataset with its official splits, before any validation images are held out.

    name: as given to `atd train --dataset`.
    task: default name of the task trained on it.
    labels: in the order of the targets.
    val, test: None when the dataset has no such split.
    licence: the publisher's terms, or a sentence saying that they are unknown.
    non_commercial: None when the terms are unknown.
    redistributable: whether the terms let its images be handed on by whoever has them; False when they are unknown.
    augment: name of the training preset (data.augment.PRESETS).
    notes: what a person should know, one line each.
    skipped: names of listed images that are absent and were left out on request.
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

    def __post_init__(self) -> None:
        if len(self.labels) < 2:
            raise DatasetError(f"{self.name}: has {len(self.labels)} classes, expected at least 2")
        if len(set(self.labels)) != len(self.labels):
            raise DatasetError(f"{self.name}: two classes have the same label; rename one of them")
        if len(self.train) == 0:
            raise DatasetError(f"{self.name}: has no training image")
        seen: set[str] = set()
        for split in (self.train, self.val, self.test):
            if split is None:
                continue
            if len(split) and not 0 <= split.targets.min() <= split.targets.max() < len(self.labels):
                raise DatasetError(f"{self.name}: an image has a class outside 0..{len(self.labels) - 1}")
            twice = seen.intersection(split.names)
            if twice:
                raise DatasetError(f"{self.name}: {min(twice)} is in two splits; remove it from one")
            seen.update(split.names)
        untrained = sorted(set(range(len(self.labels))) - set(self.train.targets.tolist()))
        if untrained:
            raise DatasetError(f"{self.name}: class '{self.labels[untrained[0]]}' has no training image")
