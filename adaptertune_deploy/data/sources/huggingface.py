"""Datasets of the Hugging Face library `datasets`: from the Hub, or from a folder that it saved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from adaptertune_deploy.core.errors import DatasetError
from adaptertune_deploy.data import downloads
from adaptertune_deploy.data.names import hub_names
from adaptertune_deploy.data.names.task_names import task_of_folder
from adaptertune_deploy.data.readers import EncodedReader
from adaptertune_deploy.data.samples import Dataset, Split
from adaptertune_deploy.data.sources.lists.lines import SPLITS
from adaptertune_deploy.data.sources.preset_by_size import preset_by_size
from adaptertune_deploy.data.sources.stacks import row_names
from adaptertune_deploy.data.sources.suffixes import suffix_of

EXTRA = "adaptertune-deploy[hf]"
IMAGE_COLUMNS = ("image", "img")
LABEL_COLUMNS = ("label", "labels", "fine_label")
UNKNOWN = "not stated by {0}; check the terms before you use it"


@dataclass(frozen=True, eq=False)
class TableReader(EncodedReader):
    """Images by names like "train/00042", the row 42 of that part's table.

    tables: part -> datasets.Dataset whose image column is not decoded.
    column: that column.
    """

    tables: Mapping[str, Any]
    column: str

    def encoded(self, name: str) -> tuple[bytes, str]:
        """Return the image's file as it is, and the suffix of its format."""
        data = self._bytes(name)
        return data, suffix_of(data)

    def _bytes(self, name: str) -> bytes:
        part, _, row = name.rpartition("/")
        cell = self.tables[part][int(row)][self.column] or {}
        if cell.get("bytes") is not None:
            return bytes(cell["bytes"])
        try:
            return Path(cell.get("path") or "").read_bytes()
        except OSError as error:
            raise DatasetError(f"{name}: its file can't be read ({error.strerror}); load the dataset again") from None


def open_hub(name: str, task: str | None) -> Dataset:
    """Open hf:OWNER/NAME[/CONFIG][:LABEL_COLUMN], downloading it into the cache of Hugging Face when it is not there.

    Raises:
        DatasetError: `datasets` is not installed, no such dataset, or not one of labelled images.
        UsageError: another form of name.
    """
    wanted = hub_names.parse(name)
    downloads.require(name, "datasets", install=EXTRA)
    import datasets

    try:
        loaded = datasets.load_dataset(wanted.repository, wanted.config)
    except Exception as error:  # the library has no root for its errors, and hands on those of the network
        raise DatasetError(
            f"{name}: can't be loaded ({_line(error)}); see https://huggingface.co/datasets/{wanted.repository}"
        ) from error
    return _dataset(loaded, name, task or wanted.task, wanted.label, None, wanted.repository)


def open_saved(folder: Path, name: str, task: str | None) -> Dataset:
    """Open a folder that `datasets` wrote with save_to_disk.

    Raises:
        DatasetError: `datasets` is not installed, damaged, or not one of labelled images.
        UsageError: the folder's name can't be a task's name and no other was given.
    """
    downloads.require(name, "datasets", install=EXTRA)
    import datasets

    try:
        loaded = datasets.load_from_disk(str(folder))
    except Exception as error:  # as above
        raise DatasetError(f"{name}: can't be loaded ({_line(error)}); save it again with save_to_disk") from error
    return _dataset(loaded, name, task or task_of_folder(folder.resolve().name), None, folder, None)


def _line(error: Exception) -> str:
    return f"{' '.join(str(error).split()) or type(error).__name__:.200}"


def _dataset(loaded: Any, name: str, task: str, label: str | None, folder: Path | None, hub_id: str | None) -> Dataset:
    import datasets

    tables, others = _parts(loaded, name)
    image, label = _columns(tables["train"], name, label)
    labels = _labels(tables, name, label)
    undecoded = datasets.Image(decode=False)
    raw = {part: table.select_columns(image).cast_column(image, undecoded) for part, table in tables.items()}
    reader = TableReader(raw, image)
    targets = {part: _targets(table, part, name, label, labels) for part, table in tables.items()}
    splits = {
        part: Split(row_names(part, len(rows)), rows, reader) for part, rows in targets.items() if rows is not None
    }
    if "train" not in splits:
        raise DatasetError(f"{name}: its training images have no labels")
    left_out = [*others, *(part for part, rows in targets.items() if rows is None)]
    licence = str(tables["train"].info.license or "").strip()
    return Dataset(
        name=name,
        task=task,
        labels=labels,
        train=splits["train"],
        val=splits.get("val"),
        test=splits.get("test"),
        licence=f"{licence}, as its publisher states" if licence else UNKNOWN.format(name),
        non_commercial=True if "nc" in licence.lower().split("-") else None,
        redistributable=False,
        augment=preset_by_size(splits["train"]),
        notes=tuple(f"the split '{part}' was left out: {_why(part, targets)}" for part in left_out),
        hub_id=hub_id,
        folder=folder,
    )


def _why(part: str, targets: Mapping[str, Any]) -> str:
    return "its images have no labels" if part in targets else "it is none of train, val and test"


def _parts(loaded: Any, name: str) -> tuple[dict[str, Any], list[str]]:
    """Return train, val and test -> table, and the names of other splits."""
    if not isinstance(loaded, dict):
        return {"train": loaded}, []
    if len(loaded) == 1:
        return {"train": next(iter(loaded.values()))}, []
    parts: dict[str, Any] = {}
    others = []
    for split, table in loaded.items():
        part = SPLITS.get(split.lower())
        if part is None or part in parts:
            others.append(split)
        else:
            parts[part] = table
    if "train" not in parts:
        raise DatasetError(f"{name}: has the splits {', '.join(loaded)}, expected one called train")
    return parts, others


def _columns(table: Any, name: str, label: str | None) -> tuple[str, str]:
    """Return the columns of the images and of the labels."""
    import datasets

    features = table.features
    kinds = ", ".join(f"{column} ({type(feature).__name__})" for column, feature in features.items())
    images = [column for column, feature in features.items() if isinstance(feature, datasets.Image)]
    image = next((column for column in IMAGE_COLUMNS if column in images), images[0] if len(images) == 1 else None)
    if image is None:
        raise DatasetError(f"{name}: has the columns {kinds:.200}, expected one of images called image or img")
    if label is not None:
        if label not in features:
            raise DatasetError(f"{name}: has no column '{label}'; it has {kinds:.200}")
        return image, label
    classes = [column for column, feature in features.items() if isinstance(feature, datasets.ClassLabel)]
    found = next((column for column in LABEL_COLUMNS if column in features), classes[0] if len(classes) == 1 else None)
    if found is None:
        raise DatasetError(
            f"{name}: has the columns {kinds:.200}, expected labels in label, labels or fine_label; name the column "
            f"({hub_names.FORM}), or rename it before save_to_disk"
        )
    return image, found


def _labels(tables: Mapping[str, Any], name: str, column: str) -> tuple[str, ...]:
    """Return the names of the classes: those that the dataset states, else every value, numbers by size."""
    import datasets

    feature = tables["train"].features[column]
    if isinstance(feature, datasets.ClassLabel):
        return tuple(feature.names)
    values = set(tables["train"].unique(column)) - {None}
    if not values or not all(isinstance(value, (str, int)) and not isinstance(value, bool) for value in values):
        raise DatasetError(f"{name}: the column '{column}' holds neither classes nor texts nor whole numbers")
    return tuple(str(value) for value in sorted(values))


def _targets(table: Any, part: str, name: str, column: str, labels: tuple[str, ...]) -> Any:
    """Return the class of every row, int64 [N]; None where a part has no labels at all, as hidden tests do."""
    import datasets

    if column not in table.features:
        return None
    values = table.select_columns(column)[:][column]  # a row of the whole table would decode its images
    if isinstance(table.features[column], datasets.ClassLabel):
        rows = np.array([-1 if value is None else value for value in values], dtype=np.int64)
    else:
        places = {label: row for row, label in enumerate(labels)}
        known = [-1 if value is None else places.get(str(value)) for value in values]
        if None in known:
            strange = values[known.index(None)]
            raise DatasetError(f"{name}: the label {strange!r:.60} is in {part} and not in train")
        rows = np.array(known, dtype=np.int64)
    unlabelled = int((rows < 0).sum())
    if unlabelled == len(rows):
        return None
    if unlabelled:
        raise DatasetError(f"{name}: {unlabelled:,} of {len(rows):,} images of {part} have no label; remove them")
    return rows
