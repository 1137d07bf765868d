"""data.sources.torchvision.others: the same images and classes as torchvision's own class, item by item."""

from __future__ import annotations

import bz2
import csv
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torchvision.datasets
from scipy.io import savemat

from adaptertune_deploy.core.errors import DatasetError
from adaptertune_deploy.data.datasets import open_dataset
from adaptertune_deploy.data.samples import Split
from adaptertune_deploy.data.sources.torchvision import others
from adaptertune_deploy.data.sources.torchvision.facts import OTHERS
from tests.data.builders import make_folder, make_mnist, save_image

TWO = {"beach": 2, "forest": 1}


def make_caltech101(root: Path) -> None:
    for label, count in {"BACKGROUND_Google": 1, "Faces_easy": 2, "accordion": 1}.items():
        for number in range(1, count + 1):
            folder = root / "caltech101" / "101_ObjectCategories" / label
            save_image(folder / f"image_{number:04d}.jpg", seed=number)


def make_country211(root: Path) -> None:
    for part in ("train", "valid", "test"):
        make_folder(root / "country211" / part, {"AD": 2, "CH": 1})


def make_dtd(root: Path) -> None:
    for number, part in enumerate(("train", "val", "test")):
        lines = [f"{label}/{label}_{number:04d}.jpg" for label in ("striped", "banded")]
        for line in lines:
            save_image(root / "dtd" / "dtd" / "images" / line, seed=number)
        (root / "dtd" / "dtd" / "labels").mkdir(exist_ok=True)
        (root / "dtd" / "dtd" / "labels" / f"{part}1.txt").write_text("\n".join(lines) + "\n")


def make_emnist(kind: str, classes: range) -> Callable[[Path], None]:
    parts = {part: f"emnist-{kind}-{part}" for part in ("train", "test")}
    return lambda root: make_mnist(root / "EMNIST" / "raw", classes, parts)


def make_mnist_like(peer: str) -> Callable[[Path], None]:
    return lambda root: make_mnist(root / peer / "raw", range(10), {"train": "train", "test": "t10k"})


def make_fer2013(root: Path) -> None:
    (root / "fer2013").mkdir(parents=True)
    generator = np.random.default_rng(0)
    with (root / "fer2013" / "fer2013.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["emotion", "pixels", "Usage"])
        for number in range(10):
            usage = "Training" if number < 7 else ("PublicTest", "PrivateTest")[number % 2]
            rows.writerow([number % 7, " ".join(map(str, generator.integers(0, 256, 48 * 48))), usage])


def make_rendered_sst2(root: Path) -> None:
    for part in ("train", "valid", "test"):
        make_folder(root / "rendered-sst2" / part, {"negative": 1, "positive": 2})


def make_stanford_cars(root: Path) -> None:
    base = root / "stanford_cars"
    (base / "devkit").mkdir(parents=True)
    kind = [("bbox_x1", "u2"), ("class", "u1"), ("fname", "O")]
    for part, classes in {"train": [2, 1, 2], "test": [1, 2]}.items():
        rows = np.array([(7, number, f"{row:05d}.jpg") for row, number in enumerate(classes)], dtype=kind)
        for row in range(len(classes)):
            save_image(base / f"cars_{part}" / f"{row:05d}.jpg", seed=row)
        name = "devkit/cars_train_annos.mat" if part == "train" else "cars_test_annos_withlabels.mat"
        savemat(base / name, {"annotations": rows})
    savemat(
        base / "devkit" / "cars_meta.mat", {"class_names": np.array(["AM General Hummer", "Audi TT"], dtype=object)}
    )


def make_stl10(root: Path) -> None:
    base = root / "stl10_binary"
    base.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for part, count in {"train": 10, "test": 2}.items():
        generator.integers(0, 256, count * 3 * 96 * 96, dtype=np.uint8).tofile(base / f"{part}_X.bin")
        np.arange(1, count + 1, dtype=np.uint8).tofile(base / f"{part}_y.bin")
    (base / "unlabeled_X.bin").write_bytes(b"")
    (base / "class_names.txt").write_text("\n".join(f"thing{row}" for row in range(10)) + "\n")


def make_sun397(root: Path) -> None:
    base = root / "SUN397"
    for place in ("a/abbey", "a/apartment_building/outdoor"):
        for number in range(2):
            save_image(base / place / f"sun_{place[-3:]}{number}.jpg", seed=number)
    (base / "ClassName.txt").write_text("/a/abbey\n/a/apartment_building/outdoor\n")


def make_usps(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    for name, classes in {"usps.bz2": range(1, 11), "usps.t.bz2": range(3, 5)}.items():
        lines = []
        for number in classes:
            values = generator.uniform(-1, 1, 256)
            lines.append(f"{number} " + " ".join(f"{place}:{value:.4f}" for place, value in enumerate(values, 1)))
        (root / name).write_bytes(bz2.compress(("\n".join(lines) + "\n").encode()))


MAKERS: dict[str, Callable[[Path], object]] = {
    "caltech101": make_caltech101,
    "country211": make_country211,
    "dtd": make_dtd,
    "emnist-balanced": make_emnist("balanced", range(47)),
    "emnist-letters": make_emnist("letters", range(1, 27)),
    "eurosat": lambda root: make_folder(root / "eurosat" / "2750", {"AnnualCrop": 2, "Forest": 1}),
    "fashionmnist": make_mnist_like("FashionMNIST"),
    "fer2013": make_fer2013,
    "kmnist": make_mnist_like("KMNIST"),
    "mnist": make_mnist_like("MNIST"),
    "rendered-sst2": make_rendered_sst2,
    "stanford-cars": make_stanford_cars,
    "stl10": make_stl10,
    "sun397": make_sun397,
    "usps": make_usps,
}


@pytest.fixture(autouse=True)
def _no_checksums(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let torchvision take small files for the real ones."""
    for module in ("fer2013", "stl10"):
        monkeypatch.setattr(
            importlib.import_module(f"torchvision.datasets.{module}"), "check_integrity", lambda *_, **__: True
        )


def test_every_dataset_has_a_small_one_here() -> None:
    assert set(MAKERS) == set(OTHERS)


@pytest.mark.parametrize("name", MAKERS)
def test_every_item_agrees_with_torchvision(name: str, tmp_path: Path) -> None:
    MAKERS[name](tmp_path)
    other = OTHERS[name]
    dataset = open_dataset(name, tmp_path)
    for part, arguments in other.parts.items():
        split = getattr(dataset, part)
        peer = getattr(torchvision.datasets, other.peer)(str(tmp_path), **arguments)
        assert len(split) == len(peer)
        assert ours(split) == theirs(peer, other.first, other.transposed)
    assert all(getattr(dataset, part) is None for part in {"val", "test"} - set(other.parts))


def ours(split: Split) -> list[tuple[int, bytes]]:
    return sorted((int(split.targets[row]), split.image(row).tobytes()) for row in range(len(split)))


def theirs(peer: Any, first: int, transposed: bool) -> list[tuple[int, bytes]]:
    items = [(image.convert("RGB"), target) for image, target in (peer[row] for row in range(len(peer)))]
    turned = [(image.transpose(5) if transposed else image, target) for image, target in items]  # TRANSPOSE
    return sorted((target - first, image.tobytes()) for image, target in turned)


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("caltech101", ("Faces easy", "accordion")),
        ("dtd", ("banded", "striped")),
        ("emnist-letters", tuple("abcdefghijklmnopqrstuvwxyz")),
        ("fashionmnist", ("T-shirt/top", "Trouser", "Pullover")),
        ("mnist", tuple("0123456789")),
        ("stanford-cars", ("AM General Hummer", "Audi TT")),
        ("sun397", ("abbey", "apartment building/outdoor")),
    ],
)
def test_labels_are_readable(name: str, labels: tuple[str, ...], tmp_path: Path) -> None:
    MAKERS[name](tmp_path)
    assert open_dataset(name, tmp_path).labels[: len(labels)] == labels


def test_names_are_files_in_a_stable_order_and_handed_on_as_they_are(tmp_path: Path) -> None:
    make_sun397(tmp_path)
    split = open_dataset("sun397", tmp_path).train
    assert list(split.names) == sorted(split.names)
    assert split.names[0] == "SUN397/a/abbey/sun_bey0.jpg"
    assert split.encoded(0) == ((tmp_path / split.names[0]).read_bytes(), ".jpg")


def test_nothing_is_decoded_while_files_are_listed(tmp_path: Path) -> None:
    make_caltech101(tmp_path)
    path = tmp_path / "caltech101" / "101_ObjectCategories" / "Faces_easy" / "image_0002.jpg"
    path.write_bytes(path.read_bytes()[:-200])
    dataset = open_dataset("caltech101", tmp_path)
    with pytest.raises(DatasetError, match=r"image_0002\.jpg: the image is truncated or damaged"):
        dataset.train.image(dataset.train.names.index("caltech101/101_ObjectCategories/Faces_easy/image_0002.jpg"))


def test_test_images_without_labels_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_fer2013(tmp_path)
    item = torchvision.datasets.FER2013.__getitem__
    monkeypatch.setattr(torchvision.datasets.FER2013, "__getitem__", lambda self, row: (item(self, row)[0], None))
    with pytest.raises(DatasetError, match="fer2013: 7 of 7 images of train have no label"):
        open_dataset("fer2013", tmp_path)


def test_the_competition_files_without_test_labels_are_not_taken(tmp_path: Path) -> None:
    (tmp_path / "fer2013").mkdir()
    for part in ("train", "test"):
        (tmp_path / "fer2013" / f"{part}.csv").write_text("emotion,pixels\n")
    with pytest.raises(DatasetError, match=r"torchvision has no download of it.*looked for fer2013\.csv in "):
        open_dataset("fer2013", tmp_path)


def test_damaged_files_are_one_line_with_the_layout(tmp_path: Path) -> None:
    make_sun397(tmp_path)
    (tmp_path / "SUN397" / "ClassName.txt").write_text("/a/other\n")
    with pytest.raises(DatasetError, match=r"sun397: .*SUN397 can't be read \(.*\); looked for ClassName") as caught:
        open_dataset("sun397", tmp_path)
    assert "\n" not in str(caught.value)


def test_what_is_absent_is_asked_of_torchvision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Peer:
        def __init__(self, root: str, *, download: bool, **arguments: object) -> None:
            asked.append(arguments)
            make_dtd(Path(root)) if not (Path(root) / "dtd").exists() else None

    with monkeypatch.context() as patch:
        patch.setattr(others, "_class", lambda other: Peer)
        others._download(OTHERS["dtd"], tmp_path)
    assert asked == [{"split": "train"}, {"split": "val"}, {"split": "test"}]
    assert len(open_dataset("dtd", tmp_path).train) == 2
