"""ImageNet-R (Hendrycks et al. 2021) in the layout of its archive, divided as continual-learning work does."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from adaptertune_deploy.core.errors import DatasetError
from adaptertune_deploy.core.progress import Progress
from adaptertune_deploy.data import downloads
from adaptertune_deploy.data.division.stratify import hold_out_by_name
from adaptertune_deploy.data.samples import Dataset, FileReader, Split
from adaptertune_deploy.data.sources.labels.imagenet_r import LABELS

NAME = "imagenet-r"
FOLDER = "imagenet-r"
LICENCE = "unknown: the repository of ImageNet-R is MIT, its images are reported to stay their owners'; check the terms"
ARCHIVE = "https://people.eecs.berkeley.edu/~hendrycks/imagenet-r.tar"
MD5 = "a61312130a589d0ca1a8fca1f2bd3337"
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
TEST_FRACTION = 0.2
# Never to be changed: it decides which images every model ever trained on this dataset was tested on.
SALT = "imagenet-r test 1"
TREE = "expected imagenet-r/<wnid>/*.jpg, n01443537 to n12267677, 200 folders and nothing beside them"
NOTE = (
    "the 200 classes are classes of ImageNet-1k, and a test set by design: for a backbone that was fine-tuned on "
    "ImageNet-1k this is no transfer"
)


def open_imagenet_r(data_dir: Path | None, task: str | None, allow_missing: bool, progress: Progress) -> Dataset:
    """Open the 30,000 images as 24,000 for training and 6,000 for the test, a fifth of every class.

    A hash of each image's name decides, so the two parts are the same in every run and on every machine.

    Raises:
        DatasetError: absent and not downloadable, or laid out in another way.
    """
    del allow_missing, progress  # the archive lists nothing that could be missing; torchvision shows its own bar
    root = data_dir or Path("data") / NAME
    _check_around(root)
    downloads.ensure(NAME, root, FOLDER, _complete, _download, _hint(root))
    train, test = hold_out_by_name(_all(root / FOLDER), TEST_FRACTION, SALT)
    return Dataset(
        name=NAME,
        task=task or NAME,
        labels=tuple(LABELS.values()),
        train=train,
        val=None,
        test=test,
        licence=LICENCE,
        non_commercial=None,
        redistributable=False,
        augment="fine",
        notes=(NOTE,),
    )


def _complete(folder: Path) -> bool:
    return folder.is_dir()


def _check_around(root: Path) -> None:
    """Refuse train/ or test/ in place of the dataset's own folder: somebody else's division of it."""
    parts = [part for part in ("train", "val", "test") if (root / part).is_dir()]
    if parts and not (root / FOLDER).is_dir():
        raise DatasetError(f"{root}: holds {' and '.join(f'{part}/' for part in parts)} but no {FOLDER}/; {TREE}")


def _download(root: Path) -> None:
    downloads.require(NAME, "torchvision")
    from torchvision.datasets.utils import download_and_extract_archive

    download_and_extract_archive(ARCHIVE, str(root), md5=MD5)


def _hint(root: Path) -> str:
    return f"looked for {root / FOLDER}; {TREE}: unpack {ARCHIVE} there, or name another folder with --data-dir"


def _all(folder: Path) -> Split:
    """Return every image with the row of its class in LABELS."""
    found = {path.name for path in folder.iterdir() if path.is_dir() and path.name[0] not in "._"}
    if odd := sorted(found.difference(LABELS)):
        raise DatasetError(f"{folder}: holds {odd[0]}/, which is no class of ImageNet-R; {TREE}")
    if absent := sorted(set(LABELS).difference(found)):
        raise DatasetError(f"{folder}: lacks {absent[0]}/ ({len(absent)} such of {len(LABELS)}); {TREE}")
    names: list[str] = []
    counts = []
    for wnid in LABELS:
        images = sorted(path.name for path in (folder / wnid).iterdir() if path.suffix.lower() in SUFFIXES)
        if not images:
            raise DatasetError(f"{folder / wnid}: holds no image; {TREE}")
        names += [f"{wnid}/{image}" for image in images]
        counts.append(len(images))
    return Split(tuple(names), np.repeat(np.arange(len(LABELS), dtype=np.int64), counts), FileReader(folder))
