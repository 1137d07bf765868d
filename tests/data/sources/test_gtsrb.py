from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import GTSRB

from adaptertune_deploy.core.errors import DatasetError
from adaptertune_deploy.data.datasets import open_dataset
from tests.data.builders import make_gtsrb


def test_every_item_agrees_with_torchvision(tmp_path: Path) -> None:
    dataset = open_dataset("gtsrb", make_gtsrb(tmp_path))
    assert dataset.test is not None
    for split, part in ((dataset.train, "train"), (dataset.test, "test")):
        peer = GTSRB(str(tmp_path), split=part)
        assert len(split) == len(peer)
        for row in range(len(peer)):
            image, target = peer[row]
            assert split.targets[row] == target
            assert np.array_equal(np.asarray(split.image(row)), np.asarray(image))
    assert len(dataset.labels) == 43
    assert (dataset.labels[14], dataset.labels[33], dataset.augment) == ("stop", "turn right ahead", "signs")


def test_an_image_is_handed_on_as_png_which_servers_take(tmp_path: Path) -> None:
    dataset = open_dataset("gtsrb", make_gtsrb(tmp_path))
    data, suffix = dataset.train.encoded(5)
    with Image.open(io.BytesIO(data)) as image:
        assert (image.format, suffix) == ("PNG", ".png")
        assert np.array_equal(np.asarray(image), np.asarray(dataset.train.image(5)))


def test_a_damaged_image_is_named(tmp_path: Path) -> None:
    root = make_gtsrb(tmp_path)
    (root / "gtsrb" / "GTSRB" / "Training" / "00000" / "00000_00000.ppm").write_bytes(b"P6 20")
    dataset = open_dataset("gtsrb", root)
    with pytest.raises(DatasetError, match=r"00000_00000\.ppm: is no readable PPM image"):
        dataset.train.image(0)


@pytest.mark.parametrize("row", ["00000.ppm;1;1;1;1;1;1;43", "00000.ppm;1;1;1;1;1;1;x", ";1;1;1;1;1;1;1", "00000.ppm"])
def test_an_answer_of_another_form_is_refused(tmp_path: Path, row: str) -> None:
    path = make_gtsrb(tmp_path) / "gtsrb" / "GT-final_test.csv"
    path.write_text(path.read_text().splitlines()[0] + "\n" + row + "\n")
    with pytest.raises(DatasetError, match=r"GT-final_test\.csv: found .* expected 0 to 42"):
        open_dataset("gtsrb", tmp_path)
