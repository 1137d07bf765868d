"""The table of datasets that have a name: where each is read, and what can be said without reading it.

Rows name modules, and a module is imported when its dataset is opened: a wrong name is refused without numpy.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from adaptertune_deploy.core.progress import Progress

if TYPE_CHECKING:
    from adaptertune_deploy.data.samples import Dataset

# (data folder, task name, leave absent images out, progress) -> dataset
Open: TypeAlias = "Callable[[Path | None, str | None, bool, Progress], Dataset]"

SOURCES = "adaptertune_deploy.data.sources"
# Files that list one's own images.
LIST_SUFFIXES = (".csv", ".tsv", ".parquet")


@dataclass(frozen=True)
class Row:
    """Where a dataset is read.

    module: its file below data.sources, "torchvision.others".
    function: in that file, of the type Open.
    marker: what lies in a folder that --data-dir could name, so that such a folder is recognised when it is given
        as --dataset; None where the dataset lies in no folder.
    comes: how a dataset without a folder comes about, "is generated".
    named: the function serves several datasets and takes the name before everything else.
    """

    module: str
    function: str
    marker: str | None = None
    comes: str | None = None
    named: bool = False

    def __post_init__(self) -> None:
        if (self.marker is None) == (self.comes is None):
            raise ValueError(f"{self.module}: a dataset has either a folder's marker or another origin")


def _other(marker: str) -> Row:
    return Row("torchvision.others", "open_other", marker, named=True)


TABLE: dict[str, Row] = {
    # the nine of the AdapterTune paper
    "cifar10": Row("cifar", "open_cifar10", "cifar-10-batches-py/batches.meta"),
    "cifar100": Row("cifar", "open_cifar100", "cifar-100-python/meta"),
    "svhn": Row("svhn", "open_svhn", "train_32x32.mat"),
    "pets": Row("pets", "open_pets", "oxford-iiit-pet"),
    "food101": Row("food101", "open_food101", "food-101/meta"),
    "flowers": Row("flowers", "open_flowers", "flowers-102"),
    "aircraft": Row("aircraft", "open_aircraft", "fgvc-aircraft-2013b/data"),
    "tinyimagenet": Row("tinyimagenet", "open_tinyimagenet", "tiny-imagenet-200/wnids.txt"),
    "imagenet-r": Row("imagenet_r", "open_imagenet_r", "imagenet-r/n01443537"),
    # without a download
    "digits": Row("digits", "open_digits", comes="comes with scikit-learn"),
    "shapes": Row("drawn.shapes", "open_shapes", comes="is generated"),
    # others that torchvision downloads or reads
    "caltech101": _other("caltech101/101_ObjectCategories"),
    "country211": _other("country211/train"),
    "dtd": _other("dtd/dtd/labels"),
    "emnist-balanced": _other("EMNIST/raw/emnist-balanced-train-images-idx3-ubyte"),
    "emnist-letters": _other("EMNIST/raw/emnist-letters-train-images-idx3-ubyte"),
    "eurosat": _other("eurosat/2750"),
    "fashionmnist": _other("FashionMNIST/raw"),
    "fer2013": _other("fer2013/fer2013.csv"),
    "gtsrb": Row("gtsrb", "open_gtsrb", "gtsrb/GTSRB"),
    "kmnist": _other("KMNIST/raw"),
    "mnist": _other("MNIST/raw"),
    "pcam": Row("pcam", "open_pcam", "pcam/camelyonpatch_level_2_split_train_x.h5"),
    "rendered-sst2": _other("rendered-sst2/train"),
    "stanford-cars": _other("stanford_cars/devkit"),
    "stl10": _other("stl10_binary/train_X.bin"),
    "sun397": _other("SUN397/ClassName.txt"),
    "usps": _other("usps.bz2"),
}


def opener(name: str) -> Open:
    """Return the function that opens a dataset of the table; its module is imported now."""
    row = TABLE[name]
    function: Callable[..., Dataset] = getattr(import_module(f"{SOURCES}.{row.module}"), row.function)
    return functools.partial(function, name) if row.named else function


def recognised(root: Path) -> str | None:
    """Return the dataset whose layout a folder has, or None."""
    return next((name for name, row in TABLE.items() if row.marker and (root / row.marker).exists()), None)
