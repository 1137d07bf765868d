"""Oxford Flowers-102 (Nilsback and Zisserman 2008) in the layout of torchvision.datasets.Flowers102."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from adaptertune_deploy.core.errors import DatasetError
from adaptertune_deploy.core.progress import Progress
from adaptertune_deploy.data import downloads, listing
from adaptertune_deploy.data.samples import Dataset, FileReader, Targets
from adaptertune_deploy.data.sources.labels.flowers import LABELS

NAME = "flowers"
FOLDER = "flowers-102"
LICENCE = "not stated by Flowers-102; its images were collected from the web, check the terms before you use them"
SOURCE = "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/"
SPLITS = {"train": "trnid", "val": "valid", "test": "tstid"}


def open_flowers(data_dir: Path | None, task: str | None, allow_missing: bool, progress: Progress) -> Dataset:
    """Open the official train (1,020), val (1,020) and test (6,149) splits.

    Raises:
        DatasetError: scipy is not installed, absent and not downloadable, damaged .mat files, or listed images
            absent.
    """
    del progress  # torchvision shows its own bar while it downloads
    downloads.require(NAME, "scipy")
    root = data_dir or Path("data") / NAME
    downloads.ensure(NAME, root, FOLDER, _complete, _download, _hint(root))
    reader = FileReader(root / FOLDER / "jpg")
    splits, skipped = listing.present(NAME, _listed(root / FOLDER), reader, allow_missing)
    return Dataset(
        name=NAME,
        task=task or NAME,
        labels=LABELS,
        train=splits["train"],
        val=splits["val"],
        test=splits["test"],
        licence=LICENCE,
        non_commercial=None,
        redistributable=False,
        augment="fine",
        notes=listing.notes(skipped),
        skipped=skipped,
    )


def _complete(folder: Path) -> bool:
    return (folder / "jpg").is_dir() and all((folder / file).is_file() for file in ("imagelabels.mat", "setid.mat"))


def _download(root: Path) -> None:
    downloads.require(NAME, "torchvision")
    from torchvision.datasets import Flowers102

    Flowers102(str(root), split="train", download=True)


def _hint(root: Path) -> str:
    return (
        f"looked for {root / FOLDER}/jpg/image_*.jpg, {root / FOLDER}/imagelabels.mat and setid.mat: "
        f"unpack 102flowers.tgz from {SOURCE} and put the two .mat files there, or name another folder with --data-dir"
    )


def _listed(folder: Path) -> dict[str, tuple[list[str], Targets]]:
    """Return split -> (file names, targets) from the official .mat files; image ids and classes count from 1 there."""
    from scipy.io import loadmat

    try:
        classes = np.ravel(loadmat(folder / "imagelabels.mat")["labels"]).astype(np.int64) - 1
        ids = loadmat(folder / "setid.mat")
        listed = {split: _named(np.ravel(ids[key]).astype(np.int64), classes) for split, key in SPLITS.items()}
    except Exception as error:  # scipy raises a dozen types on damaged files
        raise DatasetError(
            f"{folder}: imagelabels.mat or setid.mat is damaged ({type(error).__name__}); get both again from {SOURCE}"
        ) from error
    return listed


def _named(ids: Targets, classes: Targets) -> tuple[list[str], Targets]:
    if ids.min() < 1:
        raise ValueError("image ids count from 1")
    return [f"image_{number:05d}.jpg" for number in ids], classes[ids - 1]
