from __future__ import annotations

import importlib.util
import io
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import PCAM

from adaptertune_deploy.core.errors import DatasetError
from adaptertune_deploy.data.datasets import open_dataset
from adaptertune_deploy.data.sources import pcam


def make_pcam(root: Path) -> Path:
    (root / "pcam").mkdir(parents=True)
    for part, targets in {"train": [0, 1, 1], "valid": [1, 0], "test": [0, 1]}.items():
        pixels = np.random.default_rng(len(part)).integers(0, 256, (len(targets), 96, 96, 3), dtype=np.uint8)
        for key, values in {"x": pixels, "y": np.array(targets, dtype=np.uint8).reshape(-1, 1, 1, 1)}.items():
            with h5py.File(root / "pcam" / f"camelyonpatch_level_2_split_{part}_{key}.h5", "w") as stream:
                stream[key] = values
    return root


def test_every_item_agrees_with_torchvision(tmp_path: Path) -> None:
    dataset = open_dataset("pcam", make_pcam(tmp_path))
    for split, part in ((dataset.train, "train"), (dataset.val, "val"), (dataset.test, "test")):
        assert split is not None
        peer = PCAM(str(tmp_path), split=part)
        assert len(split) == len(peer)
        for row in range(len(peer)):
            image, target = peer[row]
            assert split.targets[row] == target
            assert np.array_equal(np.asarray(split.image(row)), np.asarray(image))
            data, suffix = split.encoded(row)
            assert suffix == ".png"
            assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), np.asarray(image))
    assert dataset.labels == ("no tumour", "tumour")


def test_without_h5py_it_is_named_before_anything_is_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "h5py" else found(name))
    monkeypatch.setattr(pcam, "_download", lambda root: pytest.fail("downloaded"))
    with pytest.raises(DatasetError, match="pcam: needs h5py; install it with: pip install 'h5py'"):
        open_dataset("pcam", tmp_path)


@pytest.mark.parametrize("key", ["x", "y"])
def test_a_damaged_file_is_one_line(tmp_path: Path, key: str) -> None:
    (make_pcam(tmp_path) / "pcam" / f"camelyonpatch_level_2_split_valid_{key}.h5").write_bytes(b"no HDF5")
    with pytest.raises(DatasetError, match=r"split_valid_y\.h5: is damaged") as caught:
        open_dataset("pcam", tmp_path)
    assert "\n" not in str(caught.value)


def test_labels_for_other_images_are_refused(tmp_path: Path) -> None:
    path = make_pcam(tmp_path) / "pcam" / "camelyonpatch_level_2_split_test_y.h5"
    with h5py.File(path, "w") as stream:
        stream["y"] = np.zeros((5, 1, 1, 1), dtype=np.uint8)
    with pytest.raises(DatasetError, match="5 labels for 2 images"):
        open_dataset("pcam", tmp_path)


def test_a_file_that_vanishes_later_is_named(tmp_path: Path) -> None:
    dataset = open_dataset("pcam", make_pcam(tmp_path))
    (tmp_path / "pcam" / "camelyonpatch_level_2_split_train_x.h5").unlink()
    with pytest.raises(DatasetError, match=r"split_train_x\.h5: image 00001 is not readable"):
        dataset.train.image(1)
