"""A dataset that a list of images and labels describes: labels.csv, labels.tsv, labels.parquet."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from adaptertune_deploy.core.errors import DatasetError
from adaptertune_deploy.data import listing
from adaptertune_deploy.data.names.task_names import task_of_folder
from adaptertune_deploy.data.samples import Dataset, FileReader, Reader, Split
from adaptertune_deploy.data.sources.lists.delimited import read_delimited
from adaptertune_deploy.data.sources.lists.lines import Line, check_lines
from adaptertune_deploy.data.sources.lists.parquet import check_parquet, read_parquet
from adaptertune_deploy.data.sources.preset_by_size import preset_by_size

LICENCE = "unknown: this is your own list of images, their terms are yours to know"


def check_list(file: Path) -> None:
    """Find what open_list would refuse without looking for an image; a Parquet file is opened only there.

    Raises:
        DatasetError: see open_list.
    """
    if _is_parquet(file):
        check_parquet(file)
    else:
        check_lines(file, read_delimited(file))


def open_list(file: Path, name: str, task: str | None, allow_missing: bool) -> Dataset:
    """Open the images that a list names, by paths relative to the list's folder, or holds itself (Parquet).

    Args:
        file: .csv, .tsv or .parquet with a header: path, file, image or filename; label, class or target; perhaps
            split with train, val or test. Without it all images are training images.
        name: as it was given.
        task: the task's name; the file's, without suffix, by default.
        allow_missing: leave out images that are absent.

    Raises:
        DatasetError: unreadable, another header, an image twice or with two labels, something empty, a label only
            in test, or absent images; with the number of the line.
        UsageError: the file's name can't be a task's name and no other was given.
    """
    inside: Reader | None = None
    if _is_parquet(file):
        lines, inside = read_parquet(file)
    else:
        lines = read_delimited(file)
    labels = check_lines(file, lines)
    skipped: tuple[str, ...] = ()
    if inside is None:
        lines, skipped = _present(file, lines, allow_missing)
    splits = _splits(lines, labels, inside or FileReader(file.parent))
    return Dataset(
        name=name,
        task=task or task_of_folder(file.resolve().stem, "file"),
        labels=labels,
        train=splits["train"],
        val=splits.get("val"),
        test=splits.get("test"),
        licence=LICENCE,
        non_commercial=None,
        redistributable=False,
        augment=preset_by_size(splits["train"]),
        notes=listing.notes(skipped),
        skipped=skipped,
        folder=file,
    )


def _is_parquet(file: Path) -> bool:
    return file.suffix.lower() == ".parquet"


def _present(file: Path, lines: list[Line], allow_missing: bool) -> tuple[list[Line], tuple[str, ...]]:
    """Return the lines whose images exist, and the names of the others."""
    found = listing.existing(file.parent, (line.image for line in lines))
    absent = [line for line in lines if line.image not in found]
    if absent and not allow_missing:
        raise DatasetError(
            f"{file}:{absent[0].number}: {absent[0].image} is absent ({len(absent):,} of {len(lines):,} are); paths "
            "count from the list's folder; get them, or go on without them with --allow-missing"
        )
    kept = [line for line in lines if line.image in found]
    if not any(line.part == "train" for line in kept):
        raise DatasetError(f"{file}: none of its training images is there; paths count from the list's folder")
    return kept, tuple(line.image for line in absent)


def _splits(lines: list[Line], labels: tuple[str, ...], reader: Reader) -> dict[str, Split]:
    rows = {label: row for row, label in enumerate(labels)}
    parts = sorted({line.part for line in lines})
    return {
        part: Split(
            tuple(line.image for line in lines if line.part == part),
            np.array([rows[line.label] for line in lines if line.part == part], dtype=np.int64),
            reader,
        )
        for part in parts
    }
