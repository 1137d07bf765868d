"""Tiny ImageNet (Le and Yang 2015) in the layout of its archive; nothing in the folder is moved or written."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from adaptertune_deploy.core.errors import DatasetError
from adaptertune_deploy.core.progress import Progress
from adaptertune_deploy.data import downloads, listing
from adaptertune_deploy.data.samples import Dataset, FileReader, Targets

NAME = "tinyimagenet"
FOLDER = "tiny-imagenet-200"
LICENCE = "ImageNet's terms, reported to be for non-commercial research and education only; check them before use"
ARCHIVE = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
MD5 = "90528d7ca1a48142e341f4ef8d21d0de"
ANNOTATIONS = "val/val_annotations.txt"
NOTES = (
    "the official validation images are the test split, since those of test/ have no labels",
    "the images come from ImageNet: for a backbone that was trained on it this is no transfer",
)


def open_tinyimagenet(data_dir: Path | None, task: str | None, allow_missing: bool, progress: Progress) -> Dataset:
    """Open train/ (100,000) and, as the test split, val/ (10,000); 64 x 64 pixels.

    Classes are in the order of their WordNet ids, as torchvision's ImageFolder numbers train/; labels are the first
    names in words.txt. wnids.txt decides how many classes there are, so a selection works too.

    Raises:
        DatasetError: absent and not downloadable, or lists and folders that don't fit each other.
    """
    del progress  # torchvision shows its own bar while it downloads
    root = data_dir or Path("data") / NAME
    downloads.ensure(NAME, root, FOLDER, _complete, _download, _hint(root))
    folder = root / FOLDER
    wnids = tuple(sorted((folder / "wnids.txt").read_text(encoding="utf-8").split()))
    listed = {"train": _train(folder, wnids), "test": _test(folder, wnids)}
    splits, skipped = listing.present(NAME, listed, FileReader(folder), allow_missing)
    return Dataset(
        name=NAME,
        task=task or NAME,
        labels=_labels(folder / "words.txt", wnids),
        train=splits["train"],
        val=None,
        test=splits["test"],
        licence=LICENCE,
        non_commercial=True,
        redistributable=False,
        augment="small",
        notes=(*NOTES, *listing.notes(skipped)),
        skipped=skipped,
        hub_id="zh-plus/tiny-imagenet",
    )


def _complete(folder: Path) -> bool:
    files = ("wnids.txt", "words.txt", ANNOTATIONS)
    return (folder / "train").is_dir() and all((folder / file).is_file() for file in files)


def _download(root: Path) -> None:
    downloads.require(NAME, "torchvision")
    from torchvision.datasets.utils import download_and_extract_archive

    download_and_extract_archive(ARCHIVE, str(root), md5=MD5)


def _hint(root: Path) -> str:
    return (
        f"looked for {root / FOLDER}/train/<wnid>/images/*.JPEG, val/images/*.JPEG, {ANNOTATIONS}, wnids.txt and "
        f"words.txt, as they lie in {ARCHIVE}: unpack it there, or name another folder with --data-dir"
    )


def _train(folder: Path, wnids: tuple[str, ...]) -> tuple[list[str], Targets]:
    found = {path.name for path in (folder / "train").iterdir() if path.is_dir()}
    if odd := sorted(found.symmetric_difference(wnids)):
        raise DatasetError(
            f"{folder}: '{odd[0]}' is only in {'train/' if odd[0] in found else 'wnids.txt'} ({len(odd)} such in all); "
            "the class folders of train/ are those of wnids.txt"
        )
    images = {wnid: _jpegs(folder / "train" / wnid / "images") for wnid in wnids}
    names = [f"train/{wnid}/images/{image}" for wnid in wnids for image in images[wnid]]
    return names, np.repeat(np.arange(len(wnids), dtype=np.int64), [len(images[wnid]) for wnid in wnids])


def _jpegs(folder: Path) -> list[str]:
    images = sorted(path.name for path in folder.glob("*.JPEG"))
    if not images:
        raise DatasetError(f"{folder}: holds no *.JPEG; unpack {ARCHIVE} again, and move nothing in it")
    return images


def _test(folder: Path, wnids: tuple[str, ...]) -> tuple[list[str], Targets]:
    """Return (file names, classes) of the lines "val_0.JPEG n03444034 0 32 44 62", tabs between."""
    rows = {wnid: row for row, wnid in enumerate(wnids)}
    names, targets = [], []
    for number, line in enumerate((folder / ANNOTATIONS).read_text(encoding="utf-8").splitlines(), 1):
        image, wnid, *_ = (*line.split("\t"), "", "")
        if wnid not in rows:
            raise DatasetError(f"{folder / ANNOTATIONS}:{number}: found {line!r:.60}, expected: image wnid box")
        names.append(f"val/images/{image}")
        targets.append(rows[wnid])
    return names, np.array(targets, dtype=np.int64)


def _labels(path: Path, wnids: tuple[str, ...]) -> tuple[str, ...]:
    """Return each class's first name; all its names, or its id, where two classes share that."""
    words = dict(line.partition("\t")[::2] for line in path.read_text(encoding="utf-8").splitlines())
    names = [words.get(wnid, wnid).strip() for wnid in wnids]
    short = [name.partition(",")[0] for name in names]
    choices = [(Counter(short), short), (Counter(names), names)]
    return tuple(
        next((texts[row] for counts, texts in choices if counts[texts[row]] == 1), wnid)
        for row, wnid in enumerate(wnids)
    )
