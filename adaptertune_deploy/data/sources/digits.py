"""The 1,797 scans of handwritten digits that come with scikit-learn (8x8 pixels, 17 grey levels)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from adaptertune_deploy.core.progress import Progress
from adaptertune_deploy.data import downloads
from adaptertune_deploy.data.division.stratify import hold_out
from adaptertune_deploy.data.samples import ArrayReader, Dataset, Split

NAME = "digits"
LICENCE = "CC BY 4.0 (Optical Recognition of Handwritten Digits, UCI Machine Learning Repository)"
TEST_FRACTION = 0.2
BRIGHTEST = 16


def open_digits(data_dir: Path | None, task: str | None, allow_missing: bool, progress: Progress) -> Dataset:
    """Open the digits; a fixed stratified fifth is the test split, since scikit-learn hands out one pool.

    The images stay 8x8: the backbone's own preprocessing enlarges them.

    Raises:
        DatasetError: scikit-learn is not installed.
    """
    del data_dir, allow_missing, progress
    downloads.require(NAME, "sklearn")
    from sklearn.datasets import load_digits

    bunch = load_digits()
    grey = np.rint(bunch.images * (255 / BRIGHTEST)).astype(np.uint8)
    names = tuple(f"digits/{row:04d}" for row in range(len(grey)))
    reader = ArrayReader({name: np.repeat(scan[:, :, None], 3, axis=2) for name, scan in zip(names, grey, strict=True)})
    train, test = hold_out(Split(names, bunch.target.astype(np.int64), reader), TEST_FRACTION, f"{NAME} test")
    return Dataset(
        name=NAME,
        task=task or NAME,
        labels=tuple(str(digit) for digit in range(10)),
        train=train,
        val=None,
        test=test,
        licence=LICENCE,
        non_commercial=False,
        redistributable=True,
        augment="digits",
    )
