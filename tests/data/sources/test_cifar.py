from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torchvision.datasets.cifar
from torchvision.datasets import CIFAR10, CIFAR100

from adaptertune_deploy.core.errors import DatasetError
from adaptertune_deploy.data.datasets import open_dataset
from tests.data.builders import make_cifar, make_pickle


@pytest.mark.filterwarnings("ignore:dtype")  # NumPy's, about the form of dtypes that NumPy wrote in 2009
@pytest.mark.parametrize(("name", "peer", "classes"), [("cifar10", CIFAR10, 10), ("cifar100", CIFAR100, 100)])
def test_every_item_agrees_with_torchvision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, peer: type[CIFAR10], classes: int
) -> None:
    monkeypatch.setattr(torchvision.datasets.cifar, "check_integrity", lambda *_: True)
    dataset = open_dataset(name, make_cifar(tmp_path, classes))
    assert dataset.test is not None
    for split, train in ((dataset.train, True), (dataset.test, False)):
        theirs = peer(str(tmp_path), train=train)
        assert dataset.labels == tuple(label.replace("_", " ") for label in theirs.classes)
        assert split.targets.tolist() == theirs.targets
        for row in range(len(theirs)):
            assert np.array_equal(np.asarray(split.image(row)), np.asarray(theirs[row][0]))
    assert (len(dataset.train), len(dataset.test), len(dataset.labels)) == (2 * classes, 3, classes)
    assert (dataset.augment, dataset.val, dataset.non_commercial, dataset.redistributable) == (
        "small",
        None,
        None,
        False,
    )
    assert dataset.licence.startswith("not stated by CIFAR")


def test_names_are_the_places_in_the_split(tmp_path: Path) -> None:
    dataset = open_dataset("cifar10", make_cifar(tmp_path), task="things")
    assert dataset.test is not None
    assert (dataset.train.names[0], dataset.train.names[-1]) == ("train/00000", "train/00019")
    assert dataset.test.names == ("test/00000", "test/00001", "test/00002")
    assert dataset.task == "things"


def test_a_missing_batch_is_not_taken_for_a_smaller_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*args: object, **kwargs: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(torchvision.datasets.cifar, "download_and_extract_archive", no_network)
    root = make_cifar(tmp_path)
    (root / "cifar-10-batches-py" / "data_batch_3").unlink()
    with pytest.raises(DatasetError, match="data_batch_3") as caught:
        open_dataset("cifar10", root)
    for part in ("no network", "https://", "--data-dir", str(root)):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_batch_with_other_labels_is_refused(tmp_path: Path) -> None:
    root = make_cifar(tmp_path)
    path = root / "cifar-10-batches-py" / "test_batch"
    path.write_bytes(make_pickle({"data": np.zeros((2, 3072), dtype=np.uint8), "labels": [1]}))
    with pytest.raises(DatasetError, match=r"test_batch: has no 'labels' for each of its 2 images"):
        open_dataset("cifar10", root)
