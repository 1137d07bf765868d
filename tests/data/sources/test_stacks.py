from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from adaptertune_deploy.data.sources.stacks import StackReader, row_names

STACKS = {
    "train": np.arange(2 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 4, 5, 3),
    "test": np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5),
}


def test_a_name_is_a_row_of_its_part() -> None:
    reader = StackReader(STACKS)
    split = reader.split("test", np.array([0, 1, 0]))
    assert split.names == ("test/00000", "test/00001", "test/00002")
    for row in range(2):
        assert np.array_equal(np.asarray(reader.image(f"train/{row:05d}")), STACKS["train"][row])
        grey = np.asarray(split.image(row))
        assert np.array_equal(grey, np.repeat(STACKS["test"][row][:, :, None], 3, axis=2))


def test_the_encoded_image_keeps_every_pixel() -> None:
    data, suffix = StackReader(STACKS).encoded("train/00001")
    assert suffix == ".png"
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), STACKS["train"][1])


@pytest.mark.parametrize("shape", [(2, 4), (2, 4, 5, 4)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"train: uint8 .* expected uint8 \[N, H, W\]"):
        StackReader({"train": np.zeros(shape, dtype=np.uint8)})


def test_names_sort_as_their_rows() -> None:
    names = row_names("train", 1200)
    assert list(names) == sorted(names)
