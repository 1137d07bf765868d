"""Open a dataset for checking: what training would refuse at the first fault is indexed as far as it is clear."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from adaptertune_deploy.core.errors import DatasetError
from adaptertune_deploy.core.progress import Progress, silent
from adaptertune_deploy.data import listing
from adaptertune_deploy.data.datasets import open_dataset
from adaptertune_deploy.data.division.splits import SALT, TEST_FRACTION
from adaptertune_deploy.data.division.stratify import hold_out
from adaptertune_deploy.data.duplicates import TEST, TRAIN, contents_of
from adaptertune_deploy.data.looks.scan import Look
from adaptertune_deploy.data.samples import Dataset, FileReader, Split
from adaptertune_deploy.data.sources.folder import IMAGE_SUFFIXES, SPLIT_NAMES, class_folders, files_below, of_macos

VAL = "val"
# The task's name is training's business; a folder whose name can't be one is checked all the same.
ANY_TASK = "checked"


@dataclass(frozen=True, eq=False)
class Opened:
    """A dataset with its official splits.

    name: as given.
    labels: in the order of the targets.
    splits: "train", "val" and "test" -> its images, those that exist.
    absent: names that the dataset lists and that are not there.
    refused: why training refuses the dataset as it is, "" when it does not.
    notes: what a person should know, one line each.
    """

    name: str
    labels: tuple[str, ...]
    splits: Mapping[str, Split]
    absent: tuple[str, ...] = ()
    refused: str = ""
    notes: tuple[str, ...] = field(default=())


def open_for_check(name: str, data_dir: Path | None = None, progress: Progress = silent) -> Opened:
    """Open a dataset as far as it can be opened.

    Args:
        name: a name of the table, or a path.
        data_dir: the folder that holds a dataset of the table.
        progress: told about work that takes a while.

    Raises:
        UsageError: no such dataset or folder.
        DatasetError: absent, or laid out so that it is unclear what is a class.
    """
    try:
        dataset = open_dataset(name, data_dir, ANY_TASK, allow_missing=True, progress=progress)
    except DatasetError as error:
        found = _folder(name, data_dir, str(error))
        if found is None:
            raise
        return found
    return _of(dataset)


def held_out(opened: Opened, looks: Sequence[Look]) -> frozenset[str]:
    """Return the names of the images that training holds out as test; none where there is a test split.

    Args:
        opened: the dataset.
        looks: its images; an unreadable one is not held out.
    """
    if TEST in opened.splits:
        return frozenset()
    pool = opened.splits[TRAIN]
    own = [look for look in looks if look.split == TRAIN]
    pairs = zip(own, contents_of(looks, TRAIN), strict=True)
    known = {look.name: content for look, content in pairs if not look.error}
    rows = [row for row, name in enumerate(pool.names) if name in known]
    readable, contents = pool.take(rows), [known[pool.names[row]] for row in rows]
    return frozenset(hold_out(readable, TEST_FRACTION, f"{SALT} test", contents=contents)[1].names)


def _of(dataset: Dataset) -> Opened:
    told = listing.notes(dataset.skipped)  # `absent` says it
    notes = tuple(note for note in dataset.notes if note not in told)
    return Opened(dataset.name, dataset.labels, dataset.parts, dataset.skipped, notes=notes)


def _folder(name: str, data_dir: Path | None, refused: str) -> Opened | None:
    """Index class folders whatever they hold; None when `name` is no folder or its layout is not clear."""
    root = Path(name).expanduser()
    if data_dir is not None or not root.is_dir():
        return None
    folders = class_folders(root)
    parts = {SPLIT_NAMES[folder.name.lower()]: folder for folder in folders if folder.name.lower() in SPLIT_NAMES}
    if parts and (TRAIN not in parts or len(parts) != len(folders)):
        return None
    parts = parts or {TRAIN: root}
    labels = tuple(sorted({folder.name for part in parts.values() for folder in class_folders(part)}))
    if not labels:
        return None
    reader = FileReader(root)
    splits = {part: _split(parts[part], labels, root, reader) for part in (TRAIN, VAL, TEST) if part in parts}
    return Opened(name, labels, splits, refused=refused, notes=of_macos(root, parts))


def _split(folder: Path, labels: tuple[str, ...], root: Path, reader: FileReader) -> Split:
    names = [sorted(path.relative_to(root).as_posix() for path in _images(folder / label)) for label in labels]
    targets = np.repeat(np.arange(len(labels), dtype=np.int64), [len(found) for found in names])
    return Split(tuple(name for found in names for name in found), targets, reader)


def _images(folder: Path) -> Iterator[Path]:
    return (path for path in files_below(folder) if path.suffix.lower() in IMAGE_SUFFIXES)
