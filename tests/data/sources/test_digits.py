from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

from adaptertune_deploy.data.datasets import open_dataset


def test_every_scan_is_in_one_split_with_its_label() -> None:
    dataset = open_dataset("digits")
    bunch = load_digits()
    assert dataset.test is not None
    assert dataset.redistributable
    assert sorted(dataset.train.names + dataset.test.names) == [f"digits/{row:04d}" for row in range(1797)]
    for split in (dataset.train, dataset.test):
        for row in range(0, len(split), 100):
            original = int(split.names[row].rpartition("/")[2])
            assert split.targets[row] == bunch.target[original]
            image = split.image(row)
            assert (image.mode, image.size) == ("RGB", (8, 8))
            pixels = np.asarray(image)
            assert np.abs(pixels - bunch.images[original][:, :, None] * 255 / 16).max() <= 0.5


def test_the_test_split_is_a_stratified_fifth_and_always_the_same() -> None:
    first, second = open_dataset("digits"), open_dataset("digits")
    assert first.test is not None
    assert second.test is not None
    assert first.test.names == second.test.names
    share = np.bincount(first.test.targets) / np.bincount(load_digits().target)
    assert np.abs(share - 0.2).max() < 0.01
    assert first.labels == tuple("0123456789")
    assert first.augment == "digits"
    assert first.val is None
