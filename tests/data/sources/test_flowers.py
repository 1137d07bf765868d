from __future__ import annotations

import importlib.util
import urllib.error
from pathlib import Path

import numpy as np
import pytest
import torchvision.datasets.utils
from scipy.io import savemat
from torchvision.datasets import Flowers102

from adaptertune_deploy.core.errors import DatasetError
from adaptertune_deploy.data.datasets import open_dataset
from adaptertune_deploy.data.sources import flowers
from tests.data.builders import save_image

CLASSES = 102


def make_flowers(root: Path) -> Path:
    """Write one training image a class and a few others in the layout of Flowers-102."""
    folder = root / "flowers-102"
    classes = np.array([*range(1, CLASSES + 1), 1, 2, 3])
    ids = np.arange(1, len(classes) + 1)
    for number in ids:
        save_image(folder / "jpg" / f"image_{number:05d}.jpg", size=(4, 4))
    savemat(folder / "imagelabels.mat", {"labels": classes})
    savemat(folder / "setid.mat", {"trnid": ids[:CLASSES], "valid": ids[CLASSES:-1], "tstid": ids[-1:]})
    return root


def test_the_real_splits_agree_with_torchvision(shared_data: Path) -> None:
    dataset = open_dataset("flowers", shared_data / "flowers", allow_missing=True)
    assert dataset.val is not None
    assert dataset.test is not None
    assert (len(dataset.train), len(dataset.val), len(dataset.test)) == (1020, 1020, 408)
    for split, theirs in ((dataset.train, "train"), (dataset.val, "val")):
        peer = Flowers102(str(shared_data / "flowers"), split=theirs, download=False)
        for row in (0, 500, 1019):
            image, target = peer[row]
            assert split.targets[row] == target
            assert np.array_equal(np.asarray(split.image(row)), np.asarray(image))
    present = (shared_data / "flowers" / "flowers-102" / "test_ids_present.txt").read_text().split()
    assert sorted(dataset.test.names) == sorted(f"image_{int(number):05d}.jpg" for number in present)
    assert np.bincount(dataset.test.targets).tolist() == [4] * CLASSES
    assert len(dataset.skipped) == 6149 - 408
    assert dataset.notes[0].startswith("5,741 listed images are absent and were left out (first: image_")
    assert dataset.non_commercial is None
    assert not dataset.redistributable


def test_the_partial_test_split_is_refused_by_count_and_name(shared_data: Path) -> None:
    with pytest.raises(DatasetError, match=r"5,741 of 6,149 in test; first: image_\d{5}\.jpg, .*--allow-missing"):
        open_dataset("flowers", shared_data / "flowers")


def test_image_ids_and_classes_count_from_one(tmp_path: Path) -> None:
    dataset = open_dataset("flowers", make_flowers(tmp_path))
    assert dataset.val is not None
    assert dataset.train.names[0] == "image_00001.jpg"
    assert dataset.train.targets.tolist() == list(range(CLASSES))
    assert (dataset.val.names, dataset.val.targets.tolist()) == (("image_00103.jpg", "image_00104.jpg"), [0, 1])
    assert dataset.labels[:2] == ("pink primrose", "hard-leaved pocket orchid")


def test_without_scipy_the_extra_is_named_before_anything_is_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "scipy" else found(name))
    monkeypatch.setattr(flowers, "_download", lambda root: pytest.fail("downloaded"))
    with pytest.raises(DatasetError, match=r"flowers: needs scipy; install it with: .*adaptertune-deploy\[train\]"):
        open_dataset("flowers", tmp_path)


def test_without_a_network_one_line_tells_the_layout_and_the_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*args: object, **kwargs: object) -> None:
        raise urllib.error.URLError("timed out")

    monkeypatch.setattr(torchvision.datasets.utils.urllib.request, "urlopen", no_network)
    with pytest.raises(DatasetError) as caught:
        open_dataset("flowers", tmp_path)
    message = str(caught.value)
    for part in ("timed out", f"{tmp_path}/flowers-102/jpg/image_*.jpg", "setid.mat", "https://", "--data-dir"):
        assert part in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "content", [b"", b"no matrix", b"MATLAB 5.0 MAT-file" + bytes(200)], ids=["empty", "text", "cut"]
)
def test_a_damaged_mat_file_is_one_line(tmp_path: Path, content: bytes) -> None:
    root = make_flowers(tmp_path)
    (root / "flowers-102" / "setid.mat").write_bytes(content)
    with pytest.raises(DatasetError, match=r"setid\.mat is damaged") as caught:
        open_dataset("flowers", root)
    assert "\n" not in str(caught.value)


def test_ids_beyond_the_labels_are_refused(tmp_path: Path) -> None:
    root = make_flowers(tmp_path)
    savemat(root / "flowers-102" / "setid.mat", {"trnid": np.array([1, 999]), "valid": [1], "tstid": [2]})
    with pytest.raises(DatasetError, match="damaged"):
        open_dataset("flowers", root)
