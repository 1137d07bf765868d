from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, Subset, TensorDataset
from torchvision.transforms.functional import to_tensor

from adaptertune_deploy.core.errors import DatasetError, UsageError
from adaptertune_deploy.data.sources.torch_items import from_torch
from tests.builders import make_image

LABELS = ("robin", "wren")
IMAGES = [make_image(seed=seed) for seed in range(6)]


class Pictures(Dataset[Any]):
    """Images in one of the accepted forms; item n is of class n modulo 2."""

    def __init__(self, form: Any) -> None:
        self.form = form

    def __len__(self) -> int:
        return len(IMAGES)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.form(IMAGES[index]), index % 2


def to_bytes(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)


def to_floats(image: Image.Image) -> np.ndarray[Any, Any]:
    return np.asarray(to_tensor(image))


@pytest.mark.parametrize("form", [lambda image: image, np.asarray, to_tensor, to_bytes, to_floats])
def test_every_form_of_an_image_keeps_its_pixels(form: Any) -> None:
    dataset = from_torch(Pictures(form), LABELS, "birds")
    assert dataset.train.targets.tolist() == [0, 1, 0, 1, 0, 1]
    for row, image in enumerate(IMAGES):
        assert np.array_equal(np.asarray(dataset.train.image(row)), np.asarray(image))
    data, suffix = dataset.train.encoded(2)
    assert suffix == ".png"
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), np.asarray(IMAGES[2]))


def grey(image: Image.Image) -> Image.Image:
    return image.convert("L")


@pytest.mark.parametrize("turned", [lambda image: image, np.asarray, to_tensor])
def test_grey_images_become_rgb(turned: Any) -> None:
    pixels = np.asarray(from_torch(Pictures(lambda image: turned(grey(image))), LABELS, "birds").train.image(1))
    assert np.array_equal(pixels, np.repeat(np.asarray(grey(IMAGES[1]))[:, :, None], 3, axis=2))


def test_what_a_dataset_is_called_and_how_it_is_divided() -> None:
    whole = Pictures(lambda image: image)
    dataset = from_torch(Subset(whole, [0, 1, 2]), LABELS, "birds", Subset(whole, [3]), licence="CC0-1.0")
    assert dataset.test is not None
    assert (dataset.name, dataset.task, dataset.labels) == ("python:birds", "birds", LABELS)
    assert (dataset.train.names, dataset.test.names) == (("train/00000", "train/00001", "train/00002"), ("test/00000",))
    assert (dataset.test.targets.tolist(), dataset.val) == ([1], None)
    assert (dataset.licence, dataset.augment, dataset.redistributable) == ("CC0-1.0", "small", False)
    assert from_torch(whole, LABELS, "birds", augment="plain").augment == "plain"
    assert np.array_equal(np.asarray(dataset.test.image(0)), np.asarray(IMAGES[3]))


def test_tensors_of_classes_will_do() -> None:
    items = TensorDataset(torch.stack([to_tensor(image) for image in IMAGES]), torch.tensor([1, 0, 1, 0, 0, 1]))
    assert from_torch(items, LABELS, "birds").train.targets.tolist() == [1, 0, 1, 0, 0, 1]


def test_given_classes_spare_the_reading_of_every_image() -> None:
    read = []

    class Counting(Pictures):
        def __getitem__(self, index: int) -> tuple[Any, int]:
            read.append(index)
            return super().__getitem__(index)

    dataset = from_torch(Counting(np.asarray), LABELS, "birds", targets=[0, 1, 0, 1, 0, 1], augment="plain")
    assert set(read) == {0}
    assert dataset.train.targets.tolist() == [0, 1, 0, 1, 0, 1]
    with pytest.raises(DatasetError, match="train: 2 classes were given for 6 items"):
        from_torch(Counting(np.asarray), LABELS, "birds", targets=[0, 1])


def test_random_transforms_are_found() -> None:
    generator = np.random.default_rng(0)
    with pytest.raises(DatasetError, match="was another one on the second reading; leave random transforms out"):
        from_torch(Pictures(lambda image: image.rotate(generator.uniform(1, 90))), LABELS, "birds")


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (lambda image: (to_tensor(image) - 0.5) / 0.5, r"reach from -.* expected 0\.\.1; leave the normalisation out"),
        (lambda image: to_tensor(image) * 255, "expected 0..1"),
        (lambda image: to_tensor(image) * float("nan"), "expected 0..1"),
        (lambda image: np.asarray(image).astype(np.int64), "its image is int64"),
        (lambda image: np.zeros((4, 4, 4), dtype=np.uint8), r"its image is uint8 \[4, 4, 4\]"),
        (lambda image: np.zeros(4, dtype=np.uint8), r"its image is uint8 \[4\]"),
        (lambda image: "picture.jpg", "its image is "),
    ],
)
def test_other_images_are_refused(form: Any, message: str) -> None:
    with pytest.raises(DatasetError, match=rf"^train/0: .*{message}"):
        from_torch(Pictures(form), LABELS, "birds")


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([IMAGES[0]], "is a Image; expected"),
        ([(IMAGES[0], 0, 1)], "is a tuple; expected"),
        ([(IMAGES[0], "robin")], "its class is 'robin', expected a whole number"),
        ([], "has no item"),
        ([(IMAGES[0], 0), (IMAGES[1], 2)], "an image has a class outside 0..1"),
        ([(IMAGES[0], 0)], "class 'wren' has no training image"),
    ],
)
def test_items_of_another_form_are_refused(items: list[Any], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        from_torch(items, LABELS, "birds")


def test_a_name_that_no_task_can_have_is_refused() -> None:
    with pytest.raises(UsageError, match="--task my-birds"):
        from_torch(Pictures(np.asarray), LABELS, "my birds")


def test_a_split_travels_to_a_worker_that_is_spawned() -> None:
    dataset = from_torch([(image, row % 2) for row, image in enumerate(IMAGES)], LABELS, "birds")
    copy = pickle.loads(pickle.dumps(dataset.train))
    assert np.array_equal(np.asarray(copy.image(4)), np.asarray(IMAGES[4]))
