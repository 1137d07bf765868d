"""What is known of the datasets that are read through torchvision's own classes: one entry each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

CHECK = "check the terms before you use it"
TRAIN_TEST = {"train": {"train": True}, "test": {"train": False}}
SPLITS = {"train": {"split": "train"}, "test": {"split": "test"}}
DIGITS = tuple(str(digit) for digit in range(10))


@dataclass(frozen=True)
class Other:
    """One dataset.

    peer: torchvision's class.
    parts: split -> arguments of the class; without "test" the whole is one pool, and a part of it is held out later.
    folder: below the data folder; "" when the files lie in it.
    holds: what must be in that folder; torchvision looks closer.
    source: where it can be had by hand.
    licence: the publisher's terms, or a sentence saying that they are not known for sure.
    augment: name of the training preset.
    reads: how its images are had: "loader", "transform" (of a class without a loader that opens files), or "items",
        small images in memory.
    labels: in the order of the classes; None takes them from the class's `classes` or `categories`.
    first: the lowest class.
    transposed: rows and columns are exchanged in its files, and torchvision leaves it so.
    non_commercial: None when the terms are unknown.
    downloads: whether torchvision can still download it.
    needs: modules beside torchvision.
    hub_id: the dataset on the Hugging Face Hub, where it is known to be the same.
    """

    peer: str
    parts: Mapping[str, Mapping[str, Any]]
    folder: str
    holds: tuple[str, ...]
    source: str
    licence: str
    augment: str
    reads: str = "loader"
    labels: tuple[str, ...] | None = None
    first: int = 0
    transposed: bool = False
    non_commercial: bool | None = None
    downloads: bool = True
    needs: tuple[str, ...] = field(default=())
    hub_id: str | None = None


def _mnist(peer: str, source: str, licence: str, augment: str = "digits", **others: Any) -> Other:
    """Return one of the datasets in the format of MNIST: four files in <peer>/raw."""
    files = tuple(f"raw/{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1"))
    return Other(peer, TRAIN_TEST, peer, files, source, licence, augment, reads="items", **others)


def _emnist(kind: str, labels: tuple[str, ...] | None = None, first: int = 0) -> Other:
    """Return one of the divisions of EMNIST."""
    files = tuple(
        f"raw/emnist-{kind}-{part}-{what}-ubyte"
        for part in ("train", "test")
        for what in ("images-idx3", "labels-idx1")
    )
    return Other(
        peer="EMNIST",
        parts={part: {"split": kind, **arguments} for part, arguments in TRAIN_TEST.items()},
        folder="EMNIST",
        holds=files,
        source="https://www.nist.gov/itl/products-and-services/emnist-dataset",
        licence=f"not stated by EMNIST (NIST); {CHECK}",
        augment="digits",
        reads="items",
        labels=labels,
        first=first,
        transposed=True,
    )


OTHERS: dict[str, Other] = {
    "caltech101": Other(
        peer="Caltech101",
        parts={"train": {}},
        folder="caltech101",
        holds=("101_ObjectCategories",),
        source="https://data.caltech.edu/records/mzrjq-6wc02",
        licence=f"reported as CC BY 4.0 for Caltech-101, whose images were collected from the web; {CHECK}",
        augment="fine",
        reads="transform",
        needs=("scipy",),
    ),
    "country211": Other(
        peer="Country211",
        parts={"train": {"split": "train"}, "val": {"split": "valid"}, "test": {"split": "test"}},
        folder="country211",
        holds=("train", "valid", "test"),
        source="https://github.com/openai/CLIP/blob/main/data/country211.md",
        licence=f"not stated as a whole: Country211 is a part of YFCC100M, where each photograph has its own; {CHECK}",
        augment="fine",
    ),
    "dtd": Other(
        peer="DTD",
        parts={"train": {"split": "train"}, "val": {"split": "val"}, "test": {"split": "test"}},
        folder="dtd",
        holds=("dtd/images", *(f"dtd/labels/{part}1.txt" for part in ("train", "val", "test"))),
        source="https://www.robots.ox.ac.uk/~vgg/data/dtd/",
        licence=f"reported to be for research (Describable Textures); {CHECK}",
        augment="fine",
    ),
    "emnist-balanced": _emnist("balanced"),
    "emnist-letters": _emnist("letters", tuple("abcdefghijklmnopqrstuvwxyz"), first=1),
    "eurosat": Other(
        peer="EuroSAT",
        parts={"train": {}},
        folder="eurosat",
        holds=("2750",),
        source="https://github.com/phelber/eurosat",
        licence=f"reported as MIT for EuroSAT, made of Copernicus Sentinel data; {CHECK}",
        augment="small",
    ),
    "fashionmnist": _mnist(
        "FashionMNIST",
        "https://github.com/zalandoresearch/fashion-mnist",
        f"reported as MIT for Fashion-MNIST; {CHECK}",
        "small",
        hub_id="zalando-datasets/fashion_mnist",
    ),
    "fer2013": Other(
        peer="FER2013",
        parts=SPLITS,
        folder="fer2013",
        holds=("fer2013.csv",),
        source="https://www.kaggle.com/c/challenges-in-representation-learning-facial-expression-recognition-challenge",
        licence=f"not stated by FER2013, which comes with a competition's rules; {CHECK}",
        augment="small",
        reads="items",
        labels=("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"),
        downloads=False,
    ),
    "kmnist": _mnist(
        "KMNIST",
        "http://codh.rois.ac.jp/kmnist/",
        f"reported as CC BY-SA 4.0 for Kuzushiji-MNIST (CODH); {CHECK}",
    ),
    "mnist": _mnist(
        "MNIST",
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        f"reported as CC BY-SA 3.0 for MNIST; {CHECK}",
        labels=DIGITS,
        hub_id="ylecun/mnist",
    ),
    "rendered-sst2": Other(
        peer="RenderedSST2",
        parts={"train": {"split": "train"}, "val": {"split": "val"}, "test": {"split": "test"}},
        folder="rendered-sst2",
        holds=("train", "valid", "test"),
        source="https://github.com/openai/CLIP/blob/main/data/rendered-sst2.md",
        licence=f"not stated by Rendered SST2; {CHECK}",
        augment="plain",  # a sentence that is mirrored or cut is another one
    ),
    "stanford-cars": Other(
        peer="StanfordCars",
        parts=SPLITS,
        folder="stanford_cars",
        holds=(
            "devkit/cars_meta.mat",
            "devkit/cars_train_annos.mat",
            "cars_test_annos_withlabels.mat",
            "cars_train",
            "cars_test",
        ),
        source="a mirror that you trust: the original address is gone",
        licence=f"reported to be for non-commercial research (Stanford Cars); {CHECK}",
        augment="fine",
        non_commercial=True,
        downloads=False,
        needs=("scipy",),
    ),
    "stl10": Other(
        peer="STL10",
        parts=SPLITS,
        folder="stl10_binary",
        holds=("train_X.bin", "train_y.bin", "test_X.bin", "test_y.bin", "unlabeled_X.bin", "class_names.txt"),
        source="https://cs.stanford.edu/~acoates/stl10/",
        licence=f"not stated by STL-10; its images come from ImageNet, reported to be non-commercial; {CHECK}",
        augment="small",
        reads="items",
        non_commercial=True,
    ),
    "sun397": Other(
        peer="SUN397",
        parts={"train": {}},
        folder="SUN397",
        holds=("ClassName.txt",),
        source="https://vision.princeton.edu/projects/2010/SUN/",
        licence=f"reported to be for research (SUN397), its photographs were collected from the web; {CHECK}",
        augment="fine",
    ),
    "usps": Other(
        peer="USPS",
        parts=TRAIN_TEST,
        folder="",
        holds=("usps.bz2", "usps.t.bz2"),
        source="https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass.html#usps",
        licence=f"not stated by USPS; {CHECK}",
        augment="digits",
        reads="items",
        labels=DIGITS,
    ),
}
