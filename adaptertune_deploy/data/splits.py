"""Divide a dataset into what training, selection and the one final test see."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.data.samples import Dataset, Split, join
from adaptertune_deploy.data.split_rule import VAL_FRACTION, parse_rule
from adaptertune_deploy.data.stratify import hold_out

TEST_FRACTION = 0.2
# The product's own split seed: every run, whatever its seed, trains and tests on the same images.
SALT = "adaptertune-deploy split 1"


@dataclass(frozen=True, eq=False)
class Splits:
    """The three parts of a dataset; none shares an image with another.

    val: None when nothing is held out for validation; the last weights are then the ones that count.
    test: None when the dataset is too small to hold any image back.
    rule: what was done: "official", "stratified:0.1" or "none".
    sha256: over the names of every part, in order.
    notes: what a person should know, one line each.
    """

    train: Split
    val: Split | None
    test: Split | None
    rule: str
    sha256: str
    notes: tuple[str, ...] = ()


def split(dataset: Dataset, rule: str = "auto") -> Splits:
    """Divide a dataset by a rule, never by a run's seed.

    Args:
        dataset: with its official splits.
        rule: "official" takes the dataset's validation split. "stratified:F" holds out the share F of every class
            of all images that are not test images, an official validation split included. "none" trains on all of
            those. "auto" is "official" where there is such a split, else "stratified:0.1".

    A dataset without a test split first gives up a stratified fifth for it. Every class keeps at least one
    training image, so a part can be absent when there are very few.

    Raises:
        UsageError: an unknown rule, or "official" where there is no official validation split.
    """
    notes: list[str] = []
    resolved, fraction = _resolve(rule, dataset)
    train, test = dataset.train, dataset.test
    if test is None:
        train, test = _held(train, TEST_FRACTION, "test", notes, "there is no test split, so ")
    val = dataset.val
    if resolved != "official":
        if val is not None:
            train = join(train, val)
            notes.append(f"the {len(val):,} official validation images were added to the training images")
        val = None
        if fraction is not None:
            train, val = _held(train, fraction, "val", notes, "")
    return Splits(train, val, test, resolved, _sha256(train, val, test), tuple(notes))


def _held(pool: Split, fraction: float, part: str, notes: list[str], because: str) -> tuple[Split, Split | None]:
    kept, held = hold_out(pool, fraction, f"{SALT} {part}")
    if not len(held):
        notes.append(f"{because}no image could be held out for {part}: every class has a single training image")
        return kept, None
    if because:
        notes.append(f"{because}{len(held):,} of {len(pool):,} training images are held out as {part}, stratified")
    return kept, held


def _resolve(rule: str, dataset: Dataset) -> tuple[str, float | None]:
    kind, fraction = parse_rule(rule)
    if kind == "auto":
        kind, fraction = ("official", None) if dataset.val is not None else ("stratified", VAL_FRACTION)
    if kind == "official" and dataset.val is None:
        raise UsageError(
            f"--val-split official: {dataset.name} has no official validation split; "
            f"use --val-split stratified:{VAL_FRACTION}"
        )
    return kind if fraction is None else f"{kind}:{fraction}", fraction


def _sha256(train: Split, val: Split | None, test: Split | None) -> str:
    """Hash "part", its length and its names, each ended by a NUL, which no file name can hold."""
    digest = hashlib.sha256()
    for part, split in (("train", train), ("val", val), ("test", test)):
        names = split.names if split is not None else ()
        for text in (part, str(len(names)), *names):
            digest.update(text.encode("utf-8", "surrogateescape") + b"\0")
    return digest.hexdigest()
