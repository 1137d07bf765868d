"""Check a dataset before anything is trained on it: one pass over the files, and everything that was found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import median_low

from adaptertune_deploy.core.progress import Progress, silent
from adaptertune_deploy.data.duplicates import TEST, Duplicates, group
from adaptertune_deploy.data.findings.classes import Counts, classes, count
from adaptertune_deploy.data.findings.copies import copies
from adaptertune_deploy.data.findings.finding import ERROR, WARNING, Finding, by_severity
from adaptertune_deploy.data.findings.images import images
from adaptertune_deploy.data.findings.opening import Opened, held_out
from adaptertune_deploy.data.looks.scan import Look, scan


@dataclass(frozen=True)
class SplitFacts:
    """One split.

    name: "train", "val" or "test".
    images: all of them.
    unreadable: how many of them can't be read.
    classes: how many classes it has readable images of.
    smallest, largest: readable images of the smallest and the largest of these classes; 0 without any.
    sides: least, median and greatest shorter side of the readable images, in pixels; zeros without any.
    """

    name: str
    images: int
    unreadable: int
    classes: int
    smallest: int
    largest: int
    sides: tuple[int, int, int]


@dataclass(frozen=True)
class Report:
    """What a check found.

    dataset: its name, as given.
    labels: of its classes.
    splits: in their order.
    findings: errors first.
    duplicates: all copies.
    notes: what a person should know besides, one line each.
    """

    dataset: str
    labels: tuple[str, ...]
    splits: tuple[SplitFacts, ...]
    findings: tuple[Finding, ...]
    duplicates: Duplicates
    notes: tuple[str, ...] = ()

    def count(self, severity: str) -> int:
        """Return how many findings have a severity."""
        return sum(finding.severity == severity for finding in self.findings)

    def passes(self, strict: bool = False) -> bool:
        """Return whether there is no error; strict: nor a warning."""
        return not self.count(ERROR) and not (strict and self.count(WARNING))


def check(opened: Opened, progress: Progress = silent) -> Report:
    """Read every image of a dataset once and return what was found; an unreadable one stops nothing.

    Args:
        opened: the dataset.
        progress: told about the reading, then about the comparing.
    """
    looks, notes = _divided(opened, scan(opened.splits, progress))
    parts = tuple(dict.fromkeys(look.split for look in looks))
    found = group(looks, progress)
    targets = {part: [look.label for look in looks if look.split == part and not look.error] for part in parts}
    counts = count(opened.labels, targets)
    tested = sum(look.split == TEST for look in looks)
    findings = [
        *_refused(opened),
        *images(looks, opened.absent),
        *copies(found, opened.labels, tested),
        *classes(counts),
    ]
    facts = tuple(_facts(part, looks, counts) for part in parts)
    return Report(opened.name, opened.labels, facts, by_severity(findings), found, (*opened.notes, *notes))


def _divided(opened: Opened, looks: Sequence[Look]) -> tuple[list[Look], tuple[str, ...]]:
    """Return the images with those that training holds out as test at their end, and what to say of that."""
    held = held_out(opened, looks)
    if not held:
        return [*looks], ()
    tested = [replace(look, split=TEST) for look in looks if look.name in held]
    note = f"there is no test split: {len(held):,} of {len(looks):,} images are held out as test"
    return [look for look in looks if look.name not in held] + tested, (note,)


def _refused(opened: Opened) -> Iterator[Finding]:
    if opened.refused:
        text, _, advice = opened.refused.partition("; ")
        yield Finding("refused", ERROR, 1, f"training refuses this dataset: {text}", advice)


def _facts(part: str, looks: Sequence[Look], counts: Counts) -> SplitFacts:
    own = [look for look in looks if look.split == part]
    sides = [min(look.width, look.height) for look in own if not look.error]
    sizes = [size for size in counts.of[part] if size]
    return SplitFacts(
        name=part,
        images=len(own),
        unreadable=len(own) - len(sides),
        classes=len(sizes),
        smallest=min(sizes, default=0),
        largest=max(sizes, default=0),
        sides=(min(sides), median_low(sides), max(sides)) if sides else (0, 0, 0),
    )
