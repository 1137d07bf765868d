from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets import Food101

from adaptertune_deploy.core.errors import DatasetError
from adaptertune_deploy.data.datasets import open_dataset
from tests.data.builders import make_food101


def test_every_item_agrees_with_torchvision(tmp_path: Path) -> None:
    dataset = open_dataset("food101", make_food101(tmp_path))
    assert dataset.test is not None
    for split, part in ((dataset.train, "train"), (dataset.test, "test")):
        peer = Food101(str(tmp_path), split=part)
        assert dataset.labels == tuple(label.replace("_", " ") for label in peer.classes)
        theirs = {
            path.relative_to(tmp_path / "food-101" / "images").as_posix(): row
            for row, path in enumerate(peer._image_files)
        }
        assert sorted(split.names) == sorted(theirs)
        for row, name in enumerate(split.names):
            image, target = peer[theirs[name]]
            assert split.targets[row] == target
            assert np.array_equal(np.asarray(split.image(row)), np.asarray(image))
    assert (dataset.val, dataset.augment, dataset.non_commercial) == (None, "fine", None)
    assert "noisy on purpose" in dataset.notes[0]


def test_an_absent_image_is_refused_or_skipped_and_counted(tmp_path: Path) -> None:
    root = make_food101(tmp_path)
    (root / "food-101" / "images" / "pizza" / "3.jpg").unlink()
    with pytest.raises(DatasetError, match=r"1 of 3 in train; first: pizza/3\.jpg.*--allow-missing"):
        open_dataset("food101", root)
    dataset = open_dataset("food101", root, allow_missing=True)
    assert dataset.skipped == ("pizza/3.jpg",)
    assert dataset.train.names == ("apple_pie/2.jpg", "pizza/1.jpg")


@pytest.mark.parametrize("content", ["", "[1]", '{"pizza": "pizza/1"}', '{"pizza": ["cake/1"]}', '{"pizza": 3}'])
def test_a_damaged_list_is_one_line(tmp_path: Path, content: str) -> None:
    root = make_food101(tmp_path)
    (root / "food-101" / "meta" / "train.json").write_text(content)
    with pytest.raises(DatasetError, match=r"train\.json: is damaged"):
        open_dataset("food101", root)


def test_lists_of_other_classes_are_refused(tmp_path: Path) -> None:
    root = make_food101(tmp_path)
    (root / "food-101" / "meta" / "test.json").write_text('{"pizza": ["pizza/4"]}')
    with pytest.raises(DatasetError, match=r"train\.json and test\.json have other classes"):
        open_dataset("food101", root)
