from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from pretraining import measure, network
from pretraining.measure import Labelled
from pretraining.pretrain import write_weights


def _dark_and_bright(count: int) -> Labelled:
    rng = np.random.default_rng(0)
    labels = np.arange(count) % 2
    images = rng.integers(0, 100, (count, 64, 64, 3)) + 100 * labels[:, None, None, None]
    return Labelled(images.astype(np.uint8), labels)


def test_the_probe_separates_what_a_line_separates() -> None:
    data = _dark_and_bright(40)
    assert measure.probe(data, _dark_and_bright(20), measure.coarse_pixels, seed=0) == 100


def test_a_probe_without_information_guesses() -> None:
    data = _dark_and_bright(40)
    constant = measure.probe(data, data, lambda images: np.ones((len(images), 3), np.float32), seed=0)
    assert constant == 50


def test_digits_are_split_and_enlarged() -> None:
    train, test = measure.read_digits(seed=0)
    assert (len(train.images), len(test.images)) == (1257, 540)
    assert train.images.shape[1:] == (64, 64, 3)
    grey = measure.coarse_pixels(test.images)
    scans = load_digits().images.mean(axis=(1, 2)) / 16
    assert grey.mean() == pytest.approx(scans.mean(), abs=0.01)


def test_a_folder_is_read_by_class(tmp_path: Path) -> None:
    for name, value in (("a", 10), ("b", 200)):
        (tmp_path / name).mkdir()
        Image.new("RGB", (32, 32), (value,) * 3).save(tmp_path / name / "0.png")
    data = measure.read_folder(tmp_path)
    assert data.labels.tolist() == [0, 1]
    assert data.images[:, 0, 0, 0].tolist() == [10, 200]


def test_written_weights_give_the_features_of_the_network(tmp_path: Path) -> None:
    backbone = measure.untrained(seed=3)
    write_weights(backbone, tmp_path / network.FILE, {"format": "pt"})
    images = _dark_and_bright(4).images
    before = measure.backbone_features(backbone)(images)
    after = measure.backbone_features(measure.pretrained(tmp_path / network.FILE))(images)
    assert before.shape == (4, 128)
    assert np.abs(before - after).max() < 0.02
    assert not torch.equal(*(next(measure.untrained(seed).parameters()) for seed in (0, 1)))


def test_the_summary_is_mean_and_sample_deviation() -> None:
    result = measure.summary([90.0, 92.0, 94.0])
    assert (result.mean, result.std, result.runs) == (92.0, 2.0, (90.0, 92.0, 94.0))
