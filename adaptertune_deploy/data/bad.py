"""Images that can't be used: found before training starts, and left out where that was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from adaptertune_deploy.core.errors import DatasetError
from adaptertune_deploy.core.progress import Progress, silent
from adaptertune_deploy.data.pixels.cache import PixelCache
from adaptertune_deploy.data.samples import Dataset, Split

NAMED = 10


def drop_bad(
    dataset: Dataset, pixels: PixelCache, *, skip: bool = False, reduced: bool = True, progress: Progress = silent
) -> Dataset:
    """Decode a whole dataset and return it without the images that can't be used.

    Bad are files that are absent, damaged or no images, of more than preprocess.MAX_OFFLINE_PIXELS pixels, or too
    elongated to be resized.

    Args:
        dataset: with its official splits.
        pixels: keeps what was decoded.
        skip: leave bad images out, with a note and in Dataset.skipped; otherwise they are refused.
        reduced: whether the training images will be augmented; otherwise only the served view is made.
        progress: told as the work goes on.

    Raises:
        DatasetError: there are bad images and `skip` is not set, or a class or a split would lose all of its images.
    """
    bad: dict[str, str] = {}
    kept: dict[str, Split] = {}
    for part, split in dataset.parts.items():
        absent = split.absent(progress)
        there = _without(split, absent)
        found = pixels.fill(there, reduced=reduced and part != "test", progress=progress)
        bad |= {**absent, **found}
        kept[part] = _without(there, found)
    if not bad:
        return dataset
    if not skip:
        raise DatasetError(_refusal(dataset.name, bad))
    _check_left(dataset, kept)
    note = f"{_count(bad)} can't be used and {'was' if len(bad) == 1 else 'were'} left out: {_names(bad)}"
    return replace(
        dataset,
        train=kept["train"],
        val=kept.get("val"),
        test=kept.get("test"),
        notes=(*dataset.notes, note),
        skipped=(*dataset.skipped, *bad),
    )


def _without(split: Split, bad: Mapping[str, str]) -> Split:
    return split.take([row for row, name in enumerate(split.names) if name not in bad]) if bad else split


def _check_left(dataset: Dataset, kept: Mapping[str, Split]) -> None:
    for part, split in kept.items():
        if not len(split):
            raise DatasetError(f"{dataset.name}: none of the images of {part} can be used; replace them")
    left = set(kept["train"].targets.tolist())
    for target, label in enumerate(dataset.labels):
        if target not in left:
            raise DatasetError(
                f"{dataset.name}: none of the training images of class '{label}' can be used; replace them, or remove "
                "the class"
            )


def _refusal(name: str, bad: Mapping[str, str]) -> str:
    reason, _, _ = next(iter(bad.values())).rpartition(";")
    many = f"{len(bad):,} images can't be used, first " if len(bad) > 1 else ""
    them = "them" if many else "it"
    return f"{name}: {many}{reason}; replace or remove {them}, or leave {them} out with --skip-bad"


def _count(bad: Mapping[str, str]) -> str:
    return "1 image" if len(bad) == 1 else f"{len(bad):,} images"


def _names(bad: Mapping[str, str]) -> str:
    names = ", ".join(list(bad)[:NAMED])
    return f"{names} and {len(bad) - NAMED:,} more" if len(bad) > NAMED else names
