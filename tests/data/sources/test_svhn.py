from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torchvision.datasets.svhn
from scipy.io import savemat
from torchvision.datasets import SVHN

from adaptertune_deploy.core.errors import DatasetError
from adaptertune_deploy.data.datasets import open_dataset
from adaptertune_deploy.data.sources import svhn


def make_svhn(root: Path) -> Path:
    """Write two training digits of each class and three test digits; the files call zero 10."""
    root.mkdir(parents=True, exist_ok=True)
    for part, classes in {"train": [*range(1, 11), *range(10, 0, -1)], "test": [10, 1, 9]}.items():
        pixels = np.random.default_rng(len(classes)).integers(0, 256, (32, 32, 3, len(classes)), dtype=np.uint8)
        savemat(root / f"{part}_32x32.mat", {"X": pixels, "y": np.array(classes, dtype=np.uint8)[:, None]})
    return root


def test_every_item_agrees_with_torchvision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision.datasets.svhn, "check_integrity", lambda *_: True)
    dataset = open_dataset("svhn", make_svhn(tmp_path))
    assert dataset.test is not None
    for split, part in ((dataset.train, "train"), (dataset.test, "test")):
        peer = SVHN(str(tmp_path), split=part)
        assert split.targets.tolist() == peer.labels.tolist()
        for row in range(len(peer)):
            assert np.array_equal(np.asarray(split.image(row)), np.asarray(peer[row][0]))
    assert dataset.test.targets.tolist() == [0, 1, 9]
    assert dataset.labels == tuple("0123456789")
    assert (dataset.augment, dataset.non_commercial) == ("digits-in-scene", True)


def test_the_extra_digits_are_never_read(tmp_path: Path) -> None:
    root = make_svhn(tmp_path)
    (root / "extra_32x32.mat").write_text("no matrix")
    dataset = open_dataset("svhn", root)
    assert (len(dataset.train), dataset.val) == (20, None)


def test_without_scipy_the_extra_is_named_before_anything_is_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "scipy" else found(name))
    monkeypatch.setattr(svhn, "_download", lambda root: pytest.fail("downloaded"))
    with pytest.raises(DatasetError, match=r"svhn: needs scipy; install it with: .*adaptertune-deploy\[train\]"):
        open_dataset("svhn", tmp_path)


def test_a_download_lays_both_files_into_the_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(svhn, "_download", make_svhn)
    open_dataset("svhn", tmp_path / "new")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["test_32x32.mat", "train_32x32.mat"]


@pytest.mark.parametrize("content", [b"", b"no matrix"])
def test_a_damaged_file_is_one_line(tmp_path: Path, content: bytes) -> None:
    (make_svhn(tmp_path) / "test_32x32.mat").write_bytes(content)
    with pytest.raises(DatasetError, match=r"test_32x32\.mat: is damaged") as caught:
        open_dataset("svhn", tmp_path)
    assert "\n" not in str(caught.value)


def test_images_of_another_size_are_refused(tmp_path: Path) -> None:
    pixels = np.zeros((32, 30, 3, 2), dtype=np.uint8)
    savemat(make_svhn(tmp_path) / "test_32x32.mat", {"X": pixels, "y": np.array([[1], [2]])})
    with pytest.raises(DatasetError, match=r"X is uint8 \[32, 30, 3, 2\] for 2 classes"):
        open_dataset("svhn", tmp_path)
