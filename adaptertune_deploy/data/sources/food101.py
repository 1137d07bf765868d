"""Food-101 (Bossard et al. 2014) in the layout of torchvision.datasets.Food101."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from adaptertune_deploy.core.errors import DatasetError
from adaptertune_deploy.core.progress import Progress
from adaptertune_deploy.data import downloads, listing
from adaptertune_deploy.data.samples import Dataset, FileReader, Targets

NAME = "food101"
FOLDER = "food-101"
PARTS = ("train", "test")
LICENCE = (
    "no formal licence: Food-101, made of photographs from foodspotting.com, is reported to be for research; check"
)
SOURCE = "https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/"
NOTE = "the training labels of Food-101 are noisy on purpose, those of its test split were checked"


def open_food101(data_dir: Path | None, task: str | None, allow_missing: bool, progress: Progress) -> Dataset:
    """Open the official train (75,750) and test (25,250) images; labels come from meta/train.json ("apple pie").

    Raises:
        DatasetError: absent and not downloadable, lists of another form, or listed images absent.
    """
    del progress  # torchvision shows its own bar while it downloads
    root = data_dir or Path("data") / NAME
    downloads.ensure(NAME, root, FOLDER, _complete, _download, _hint(root))
    lists = {part: _read(root / FOLDER / "meta" / f"{part}.json") for part in PARTS}
    labels = tuple(sorted(lists["train"]))
    if tuple(sorted(lists["test"])) != labels:
        raise DatasetError(f"{root / FOLDER / 'meta'}: train.json and test.json have other classes; get both again")
    splits, skipped = listing.present(
        NAME,
        {part: _listed(images, labels) for part, images in lists.items()},
        FileReader(root / FOLDER / "images"),
        allow_missing,
    )
    return Dataset(
        name=NAME,
        task=task or NAME,
        labels=tuple(label.replace("_", " ") for label in labels),
        train=splits["train"],
        val=None,
        test=splits["test"],
        licence=LICENCE,
        non_commercial=None,
        redistributable=False,
        augment="fine",
        notes=(NOTE, *listing.notes(skipped)),
        skipped=skipped,
        hub_id="ethz/food101",
    )


def _complete(folder: Path) -> bool:
    return (folder / "images").is_dir() and all((folder / "meta" / f"{part}.json").is_file() for part in PARTS)


def _download(root: Path) -> None:
    downloads.require(NAME, "torchvision")
    from torchvision.datasets import Food101

    Food101(str(root), download=True)


def _hint(root: Path) -> str:
    return (
        f"looked for {root / FOLDER}/images/<class>/*.jpg and {root / FOLDER}/meta/train.json and test.json: "
        f"unpack food-101.tar.gz from {SOURCE} there, or name another folder with --data-dir"
    )


def _read(path: Path) -> dict[str, list[str]]:
    """Return class -> its images, "apple_pie/1005649"."""
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        if not all(str(image).startswith(f"{label}/") for label, images in content.items() for image in images):
            raise ValueError("an image of another class")
        return {label: [str(image) for image in images] for label, images in content.items()}
    except (ValueError, TypeError, AttributeError):
        raise DatasetError(
            f'{path}: is damaged, expected {{"class": ["class/image", ...], ...}}; get it again'
        ) from None


def _listed(images: dict[str, list[str]], labels: tuple[str, ...]) -> tuple[list[str], Targets]:
    names = [f"{image}.jpg" for label in labels for image in images[label]]
    return names, np.repeat(np.arange(len(labels), dtype=np.int64), [len(images[label]) for label in labels])
