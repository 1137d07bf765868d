"""What a list of images says, line by line, and what is wrong with it; no image is looked at."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from adaptertune_deploy.core.errors import DatasetError

# What a column may be called, in any case.
IMAGE_COLUMNS = ("path", "file", "image", "filename")
LABEL_COLUMNS = ("label", "class", "target")
SPLIT_COLUMNS = ("split",)
SPLITS = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
HEADER = f"expected a header with {' or '.join(IMAGE_COLUMNS)}, and {' or '.join(LABEL_COLUMNS)}, and perhaps split"


@dataclass(frozen=True)
class Line:
    """One labelled image.

    number: of the line in the file, from 1.
    image: POSIX path below the list's folder, or another name where the list holds the image itself.
    label: text, never empty.
    part: "train", "val" or "test".
    """

    number: int
    image: str
    label: str
    part: str


@dataclass(frozen=True)
class Columns:
    """The names of the columns that are read, as they stand in the header; split may be absent."""

    image: str
    label: str
    split: str | None


def find_columns(file: Path, header: Sequence[str]) -> Columns:
    """Return which columns hold what.

    Raises:
        DatasetError: a needed column is absent, or two could be meant.
    """
    image, label, split = (_one(file, header, known) for known in (IMAGE_COLUMNS, LABEL_COLUMNS, SPLIT_COLUMNS))
    if image is None or label is None:
        found = ", ".join(repr(name) for name in header[:8]) or "nothing"
        raise DatasetError(f"{file}:1: found the columns {found:.200}; {HEADER}")
    return Columns(image, label, split)


def _one(file: Path, header: Sequence[str], known: Sequence[str]) -> str | None:
    found = [name for name in header if name.strip().lower() in known]
    if len(found) > 1:
        raise DatasetError(
            f"{file}:1: the columns {' and '.join(repr(name) for name in found)} could both be meant; rename or remove "
            "one of them"
        )
    return found[0] if found else None


def make_line(file: Path, number: int, image: str, label: str, split: str | None) -> Line:
    """Return one line of a list, checked by itself.

    Args:
        file: the list.
        number: of the line.
        image: the path, as it stands there.
        label: likewise.
        split: likewise; None where the list has no such column.

    Raises:
        DatasetError: something is empty or can't be printed, or the split is none.
    """
    image, label = image.strip(), label.strip()
    for text, what in ((image, "path"), (label, "label")):
        if not text:
            raise DatasetError(f"{file}:{number}: has no {what}; fill it in or remove the line")
        if not text.isprintable():
            raise DatasetError(f"{file}:{number}: the {what} {text!r:.80} can't be printed; change it")
    part = "train" if split is None else SPLITS.get(split.strip().lower())
    if part is None:
        raise DatasetError(f"{file}:{number}: the split is {split!r:.40}, expected train, val or test")
    return Line(number, image, label, part)


def below(file: Path, path: str) -> str:
    """Return a path that a list holds as a POSIX path from the list's folder; absolute ones become relative."""
    return Path(os.path.relpath(file.parent / path, file.parent)).as_posix()


def check_lines(file: Path, lines: Iterable[Line]) -> tuple[str, ...]:
    """Return the labels in order: numbers by size, texts by the alphabet.

    Raises:
        DatasetError: an image twice, an image with two labels, no training image, or a label without one.
    """
    seen: dict[str, Line] = {}
    first: dict[str, Line] = {}
    trained: set[str] = set()
    for line in lines:
        before = seen.setdefault(line.image, line)
        if before is not line:
            raise DatasetError(f"{file}:{line.number}: {_twice(before, line)}")
        first.setdefault(line.label, line)
        if line.part == "train":
            trained.add(line.label)
    for label, line in first.items():
        if label not in trained:
            raise DatasetError(
                f"{file}:{line.number}: the label '{label:.60}' is only in {line.part}; give it a training image"
            )
    if not seen:
        raise DatasetError(f"{file}: lists no image; {HEADER}, and a line for each image")
    return tuple(sorted(first, key=_order if all(_is_number(label) for label in first) else None))


def _twice(before: Line, line: Line) -> str:
    if before.label != line.label:
        return f"{line.image} is '{line.label:.60}' here and '{before.label:.60}' on line {before.number}; keep one"
    where = "" if before.part == line.part else f", here in {line.part} and there in {before.part}"
    return f"{line.image} is on line {before.number} already{where}; remove one of the two"


def _is_number(label: str) -> bool:
    return label.isascii() and label.isdigit()


def _order(label: str) -> tuple[int, str]:
    return int(label), label
