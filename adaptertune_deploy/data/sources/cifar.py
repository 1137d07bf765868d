"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009) in the layout of torchvision.datasets.CIFAR10 and CIFAR100."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from adaptertune_deploy.core.errors import DatasetError
from adaptertune_deploy.core.progress import Progress
from adaptertune_deploy.data import downloads
from adaptertune_deploy.data.samples import Dataset, Pixels, Targets
from adaptertune_deploy.data.sources.cifar_batches import images, read_batch
from adaptertune_deploy.data.sources.stacks import StackReader

SOURCE = "https://www.cs.toronto.edu/~kriz/cifar.html"


@dataclass(frozen=True)
class Layout:
    """What differs between the two.

    peer: torchvision's class, which downloads it.
    folder: below the data folder.
    parts: split -> its batch files.
    meta: file of the class names, and their key in it.
    targets: key of a batch's classes.
    """

    name: str
    peer: str
    folder: str
    parts: dict[str, tuple[str, ...]]
    meta: tuple[str, str]
    targets: str
    hub_id: str

    @property
    def files(self) -> tuple[str, ...]:
        """Every file that must be there."""
        return (self.meta[0], *(file for batches in self.parts.values() for file in batches))


CIFAR10 = Layout(
    "cifar10",
    "CIFAR10",
    "cifar-10-batches-py",
    {"train": tuple(f"data_batch_{number}" for number in range(1, 6)), "test": ("test_batch",)},
    ("batches.meta", "label_names"),
    "labels",
    "uoft-cs/cifar10",
)
CIFAR100 = Layout(
    "cifar100",
    "CIFAR100",
    "cifar-100-python",
    {"train": ("train",), "test": ("test",)},
    ("meta", "fine_label_names"),
    "fine_labels",
    "uoft-cs/cifar100",
)


def open_cifar10(data_dir: Path | None, task: str | None, allow_missing: bool, progress: Progress) -> Dataset:
    """Open the official train (50,000) and test (10,000) images of 10 classes, 32 x 32 pixels.

    Raises:
        DatasetError: absent and not downloadable, or batch files that are damaged; nothing in them is ever run.
    """
    return _open(CIFAR10, data_dir, task, progress)


def open_cifar100(data_dir: Path | None, task: str | None, allow_missing: bool, progress: Progress) -> Dataset:
    """Open the official train (50,000) and test (10,000) images with their 100 fine classes, 32 x 32 pixels.

    Raises:
        DatasetError: see open_cifar10.
    """
    return _open(CIFAR100, data_dir, task, progress)


def _open(layout: Layout, data_dir: Path | None, task: str | None, progress: Progress) -> Dataset:
    root = data_dir or Path("data") / layout.name
    downloads.ensure(layout.name, root, layout.folder, _complete(layout), _download(layout), _hint(layout, root))
    folder = root / layout.folder
    names = read_batch(folder / layout.meta[0]).get(layout.meta[1], [])
    stacks: dict[str, Pixels] = {}
    targets: dict[str, Targets] = {}
    for number, (part, batches) in enumerate(layout.parts.items()):
        progress(f"reading {layout.name}", number, len(layout.parts))
        stacks[part], targets[part] = _read(folder, batches, layout.targets)
    progress(f"reading {layout.name}", len(layout.parts), len(layout.parts))
    reader = StackReader(stacks)
    return Dataset(
        name=layout.name,
        task=task or layout.name,
        labels=tuple(str(name).replace("_", " ") for name in names),
        train=reader.split("train", targets["train"]),
        val=None,
        test=reader.split("test", targets["test"]),
        licence=f"not stated by {layout.peer}; its images were collected from the web, check the terms before use",
        non_commercial=None,
        redistributable=False,
        augment="small",
        hub_id=layout.hub_id,
    )


def _complete(layout: Layout) -> downloads.Complete:
    return lambda folder: all((folder / file).is_file() for file in layout.files)


def _download(layout: Layout) -> downloads.Fetch:
    def download(root: Path) -> None:
        downloads.require(layout.name, "torchvision")
        import torchvision.datasets

        getattr(torchvision.datasets, layout.peer)(str(root), download=True)

    return download


def _hint(layout: Layout, root: Path) -> str:
    return (
        f"looked for {', '.join(layout.files)} in {root / layout.folder}: unpack the Python version from {SOURCE} "
        "there, or name another folder with --data-dir; a folder of CIFAR as image files goes to --dataset FOLDER"
    )


def _read(folder: Path, batches: tuple[str, ...], key: str) -> tuple[Pixels, Targets]:
    pixels, targets = [], []
    for name in batches:
        batch = read_batch(folder / name)
        pixels.append(images(batch, folder / name))
        found = batch.get(key)
        if not isinstance(found, list) or len(found) != len(pixels[-1]):
            raise DatasetError(
                f"{folder / name}: has no '{key}' for each of its {len(pixels[-1]):,} images; get it again"
            )
        targets += found
    return np.concatenate(pixels), np.array(targets, dtype=np.int64)
