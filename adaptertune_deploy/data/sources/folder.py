"""A folder of images with one folder per class, with or without train/, val/ and test/ above the classes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from adaptertune_deploy.core.errors import DatasetError
from adaptertune_deploy.data.names.task_names import task_of_folder

if TYPE_CHECKING:
    from adaptertune_deploy.data.samples import Dataset, FileReader, Split

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif")
# Servers take none of these (core.images.preprocess.FORMATS), and what can't be served is not learnt from: suffix ->
# format, and what to convert it to.
UNREAD = {
    ".tif": ("TIFF", "PNG"),
    ".tiff": ("TIFF", "PNG"),
    ".heic": ("HEIC", "JPEG"),
    ".heif": ("HEIC", "JPEG"),
    ".avif": ("AVIF", "JPEG"),
    ".jxl": ("JPEG XL", "JPEG"),
    ".jp2": ("JPEG 2000", "PNG"),
}
SPLIT_NAMES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
# macOS puts a folder of this name, with what only it reads, into the archives that it makes.
OF_MACOS = "__MACOSX"
LICENCE = "unknown: this is your own folder, its terms are yours to know"
LAYOUT = "expected FOLDER/<class>/*.jpg, or FOLDER/train/<class>/*.jpg with val/ and test/ beside train/"


def open_folder(root: Path, name: str, task: str | None) -> Dataset:
    """Index a folder in memory; nothing is written into it. Labels are the sorted names of the class folders.

    Hidden files and folders, whose names begin with a full stop, are passed over, and so is __MACOSX, which the notes
    say; every other folder is a class, as torchvision's ImageFolder has it, one whose name begins with _ too. Other
    files that are no images, or lie outside a class folder, are counted in the notes. Images below a class folder
    count however deep they lie.

    Raises:
        DatasetError: another layout: val/ or test/ without train/, class folders beside train/, an empty class,
            splits with different classes, a name that can't be printed, or no class folder at all.
        UsageError: the folder's name can't be a task's name and no other was given.
    """
    from adaptertune_deploy.data.samples import Dataset, FileReader
    from adaptertune_deploy.data.sources.preset_by_size import preset_by_size

    parts, labels = read_layout(root)
    indexed = {part: _index(folder) for part, folder in parts.items()}
    reader = FileReader(root)
    splits = {part: _split(classes, labels, root, reader) for part, (classes, _) in indexed.items()}
    ignored = [path for _, others in indexed.values() for path in others]
    return Dataset(
        name=name,
        task=task or task_of_folder(root.resolve().name),
        labels=labels,
        train=splits["train"],
        val=splits.get("val"),
        test=splits.get("test"),
        licence=LICENCE,
        non_commercial=None,
        redistributable=False,
        augment=preset_by_size(splits["train"]),
        notes=(*_notes(ignored, root), *of_macos(root, parts)),
        folder=root,
    )


def read_layout(root: Path) -> tuple[dict[str, Path], tuple[str, ...]]:
    """Return split -> folder and the labels, from the names of the upper two levels alone; no image is looked for.

    Raises:
        DatasetError: another layout; see open_folder.
    """
    parts = _parts(root)
    classes = {part: tuple(path.name for path in class_folders(folder)) for part, folder in parts.items()}
    for part, found in classes.items():
        if len(found) < 2:
            count = f"{len(found)} folder{'' if len(found) == 1 else 's'} of images"
            raise DatasetError(f"{parts[part]}: holds {count}, expected at least 2; {LAYOUT}")
    labels = _labels(parts, classes)
    for label in labels:
        if not label.isprintable():
            raise DatasetError(
                f"{root}: the class folder {label!r:.80} has a name that can't be printed; rename it, it is the label"
            )
    return parts, labels


def _parts(root: Path) -> dict[str, Path]:
    """Return "train" and, where present, "val" and "test" -> folder; a flat folder is all "train"."""
    folders = class_folders(root)
    named = [folder for folder in folders if folder.name.lower() in SPLIT_NAMES]
    if not named:
        return {"train": root}
    parts: dict[str, Path] = {}
    for folder in named:
        part = SPLIT_NAMES[folder.name.lower()]
        if part in parts:
            raise DatasetError(f"{root}: holds both {parts[part].name}/ and {folder.name}/; keep one of them")
        parts[part] = folder
    if "train" not in parts:
        held = " and ".join(f"{folder.name}/" for folder in named)
        raise DatasetError(f"{root}: holds {held} but no train/, so their images would be trained on; {LAYOUT}")
    others = [folder.name for folder in folders if folder not in named]
    if others:
        raise DatasetError(
            f"{root}: holds {others[0]}/ beside train/ ({len(others)} such in all), so it is unclear what is a class; "
            f"{LAYOUT}"
        )
    return parts


def class_folders(folder: Path) -> list[Path]:
    """Return the folders in a folder that may be classes, sorted: nothing hidden, and not macOS's own."""
    return sorted(
        path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".") and path.name != OF_MACOS
    )


def of_macos(root: Path, parts: Mapping[str, Path]) -> tuple[str, ...]:
    """Return what to say of macOS's own folders, which are passed over, in a dataset's folder and its splits."""
    found = [folder / OF_MACOS for folder in dict.fromkeys((root, *parts.values())) if (folder / OF_MACOS).is_dir()]
    return tuple(
        f"passed over the folder {path.relative_to(root).as_posix()}/, which macOS puts into archives" for path in found
    )


def _index(folder: Path) -> tuple[dict[str, list[Path]], list[Path]]:
    """Return class -> its images, sorted, and the files that were passed over."""
    others = [path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
    classes: dict[str, list[Path]] = {}
    for of_class in class_folders(folder):
        files = sorted(files_below(of_class))
        images = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
        others += [path for path in files if path.suffix.lower() not in IMAGE_SUFFIXES]
        if not images:
            unread = next((path.suffix.lower() for path in files if path.suffix.lower() in UNREAD), None)
            advice = f"fill or remove this folder, {LAYOUT}" if unread is None else _unread(*UNREAD[unread])
            raise DatasetError(f"{of_class}: holds no image ({', '.join(IMAGE_SUFFIXES)}); {advice}")
        classes[of_class.name] = images
    return classes, others


def files_below(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder, links followed, each real folder once, nothing hidden."""
    seen: set[str] = set()
    for base, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(base)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(base) / name for name in files if not name.startswith("."))


def _labels(parts: dict[str, Path], classes: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    labels = classes["train"]
    for part, found in classes.items():
        extra, missing = sorted(set(found) - set(labels)), sorted(set(labels) - set(found))
        if extra or missing:
            name, how = (extra[0], "only there") if extra else (missing[0], "only in train")
            raise DatasetError(
                f"{parts[part]}: other classes than {parts['train']}: '{name}' is {how} "
                f"({len(extra) + len(missing)} such in all); every split needs the same class folders"
            )
    return labels


def _split(classes: dict[str, list[Path]], labels: tuple[str, ...], root: Path, reader: FileReader) -> Split:
    import numpy as np

    from adaptertune_deploy.data.samples import Split

    names = tuple(path.relative_to(root).as_posix() for label in labels for path in classes[label])
    counts = [len(classes[label]) for label in labels]
    return Split(names, np.repeat(np.arange(len(labels), dtype=np.int64), counts), reader)


def _unread(kind: str, to: str) -> str:
    return f"{kind} is not read, since servers don't take it; convert to {to}"


def _notes(ignored: list[Path], root: Path) -> tuple[str, ...]:
    unread: dict[tuple[str, str], list[Path]] = {}
    others: list[Path] = []
    for path in ignored:
        kind = UNREAD.get(path.suffix.lower())
        (others if kind is None else unread.setdefault(kind, [])).append(path)
    notes = []
    for kind, paths in unread.items():
        first = min(paths).relative_to(root).as_posix()
        notes.append(f"passed over {kind[0]} files: {len(paths):,} (first: {first}); {_unread(*kind)}")
    if others:
        first = min(others).relative_to(root).as_posix()
        files = (
            "1 file that is no image, or lies"
            if len(others) == 1
            else f"{len(others):,} files that are no images, or lie"
        )
        notes.append(f"passed over {files} outside a class folder (first: {first})")
    return tuple(notes)
