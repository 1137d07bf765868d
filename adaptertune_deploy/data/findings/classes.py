"""Findings on classes and splits: too few images to learn from, or to measure with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from adaptertune_deploy.core.answers.significance import wilson
from adaptertune_deploy.data.duplicates import TEST
from adaptertune_deploy.data.findings.finding import ERROR, NOTE, WARNING, Finding, counted, first

TINY = 5
UNEQUAL, VERY_UNEQUAL = 3, 10
FEW_TESTED = 100
EXAMPLE = 0.8


@dataclass(frozen=True)
class Counts:
    """Readable images of each class.

    labels: of the classes.
    of: split -> images of each class, in the order of the labels.
    """

    labels: tuple[str, ...]
    of: Mapping[str, tuple[int, ...]]

    @property
    def trained(self) -> tuple[int, ...]:
        """Images of each class that train: all that are not test images."""
        parts = [counts for split, counts in self.of.items() if split != TEST]
        return tuple(map(sum, zip(*parts, strict=True))) if parts else (0,) * len(self.labels)

    @property
    def tested(self) -> tuple[int, ...]:
        """Test images of each class; empty without a test split."""
        return self.of.get(TEST, ())


def classes(counts: Counts) -> Iterator[Finding]:
    """Yield what to know about the sizes of classes and of the test."""
    if len(counts.labels) == 1:
        yield Finding(
            "single-class",
            ERROR,
            1,
            f"there is a single class, '{counts.labels[0]}'",
            "add another class to tell apart",
        )
    yield from _trained(counts)
    yield from _unequal(counts)
    yield from _tested(counts)


def _trained(counts: Counts) -> Iterator[Finding]:
    sizes = dict(zip(counts.labels, counts.trained, strict=True))
    empty = [label for label, size in sizes.items() if size == 0]
    tiny = {label: size for label, size in sizes.items() if 0 < size < TINY}
    if empty:
        has = "has" if len(empty) == 1 else "have"
        yield Finding(
            "untrained-classes",
            ERROR,
            len(empty),
            f"{counted(len(empty), 'class', 'classes')} {has} no readable training image {first(empty)}",
            "add images or remove the class",
            tuple(empty),
        )
    if tiny:
        has = "has" if len(tiny) == 1 else "have"
        yield Finding(
            "tiny-classes",
            WARNING,
            len(tiny),
            f"{counted(len(tiny), 'class', 'classes')} {has} fewer than {TINY} training images "
            f"{first([f'{label}: {size}' for label, size in tiny.items()])}",
            "add images, or expect little of them",
            tuple(tiny),
        )


def _unequal(counts: Counts) -> Iterator[Finding]:
    sizes = [(size, label) for size, label in zip(counts.trained, counts.labels, strict=True) if size]
    if len(sizes) < 2:
        return
    (least, small), (most, large) = min(sizes), max(sizes)
    if most >= UNEQUAL * least:
        yield Finding(
            "unequal-classes",
            WARNING if most >= VERY_UNEQUAL * least else NOTE,
            len(sizes),
            f"the largest class has {most / least:.1f} times the images of the smallest "
            f"({large}: {most:,}, {small}: {least:,})",
            "read the balanced accuracy and the worst class beside the accuracy",
        )


def _tested(counts: Counts) -> Iterator[Finding]:
    images = sum(counts.tested)
    if images == 0:
        yield Finding("no-test", ERROR, 1, "there are too few images to hold any back as test", "add images")
        return
    missing = [
        label for label, size, own in zip(counts.labels, counts.tested, counts.trained, strict=True) if own and not size
    ]
    if missing:
        has = "has" if len(missing) == 1 else "have"
        yield Finding(
            "untested-classes",
            WARNING,
            len(missing),
            f"{counted(len(missing), 'class', 'classes')} {has} no test image {first(missing)}: nothing is measured of "
            f"{'it' if len(missing) == 1 else 'them'}",
            "add test images of every class",
            tuple(missing),
        )
    if images < FEW_TESTED:
        low, high = wilson(round(EXAMPLE * images), images)
        yield Finding(
            "small-test",
            WARNING,
            images,
            f"the test has {counted(images, 'image')}: one is {100 / images:.1f} points, and a measured "
            f"{100 * EXAMPLE:.0f} % may be anything from {100 * low:.0f} to {100 * high:.0f} %, so that smaller "
            "differences can't be shown",
            "test on more images",
        )


def count(labels: Sequence[str], targets: Mapping[str, Sequence[int]]) -> Counts:
    """Count each class.

    Args:
        labels: of the classes.
        targets: split -> the class of each readable image.
    """
    found = {split: Counter(rows) for split, rows in targets.items()}
    rows = range(len(labels))
    return Counts(tuple(labels), {split: tuple(of[row] for row in rows) for split, of in found.items()})
