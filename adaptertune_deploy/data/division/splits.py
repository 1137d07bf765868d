"""Divide a dataset into what trains and what the one final test sees."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from adaptertune_deploy.core.progress import Progress, silent
from adaptertune_deploy.data.division.stratify import hold_out
from adaptertune_deploy.data.samples import Dataset, Split, join

TEST_FRACTION = 0.2
# The product's own split seed: every run, whatever its seed, trains and tests on the same images.
SALT = "adaptertune-deploy split 1"


@dataclass(frozen=True, eq=False)
class Splits:
    """The two parts of a dataset; they share no image.

    train: all that is not test.
    test: None when the dataset is too small to hold any image back.
    rule: where the test images come from: "official", or "stratified:0.2" of the training images.
    sha256: over every part's names and contents, in order.
    labels_sha256: over the label of every image, in the same order.
    notes: what a person should know, one line each.
    """

    train: Split
    test: Split | None
    rule: str
    sha256: str
    labels_sha256: str
    notes: tuple[str, ...] = ()


def split(dataset: Dataset, progress: Progress = silent, contents: Sequence[str] | None = None) -> Splits:
    """Divide a dataset, the same in every run, whatever its seed.

    All images that are not test images train, an official validation split included. A dataset without an official
    test split gives up a stratified fifth of its training images for it, copies of an image together. Every class
    keeps at least one training image, so there may be no test when there are very few.

    Args:
        dataset: with its official splits.
        progress: told about the hashing of the images.
        contents: what copies have in common, for each image of dataset.train; see stratify.groups_of. Where no image
            lies in two files of different bytes, it changes nothing.

    Raises:
        DatasetError: a file is absent.
    """
    notes: list[str] = []
    train, test, rule = dataset.train, dataset.test, "official"
    if test is None:
        train, test, rule = *_test_of(train, notes, progress, contents), f"stratified:{TEST_FRACTION}"
    if dataset.val is not None:
        train = join(train, dataset.val)
        notes.append(f"the {len(dataset.val):,} official validation images train too")
    parts = {"train": train, "test": test}
    return Splits(train, test, rule, _sha256(parts, progress), _labels_sha256(parts, dataset.labels), tuple(notes))


def _test_of(
    pool: Split, notes: list[str], progress: Progress, contents: Sequence[str] | None
) -> tuple[Split, Split | None]:
    kept, held = hold_out(pool, TEST_FRACTION, f"{SALT} test", progress, contents)
    if not len(held):
        notes.append("there is no test split, and no image can be held out for one: every class has a single image")
        return kept, None
    notes.append(
        f"there is no test split, so {len(held):,} of {len(pool):,} training images are held out as test, stratified"
    )
    return kept, held


def _sha256(parts: dict[str, Split | None], progress: Progress) -> str:
    """Hash "part", its length, and each name and its content, all ended by a NUL, which no file name can hold."""
    digest = hashlib.sha256()
    for part, images in parts.items():
        digest.update(f"{part}\0{0 if images is None else len(images)}\0".encode())
        if images is not None:
            for name, content in zip(images.names, images.contents(progress), strict=True):
                digest.update(f"{name}\0{content}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _labels_sha256(parts: dict[str, Split | None], labels: Sequence[str]) -> str:
    """Hash "part", its length, and each image's label, all ended by a NUL."""
    digest = hashlib.sha256()
    for part, images in parts.items():
        named = () if images is None else [labels[target] for target in images.targets]
        for word in (part, str(len(named)), *named):
            digest.update(f"{word}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
