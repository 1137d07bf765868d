from __future__ import annotations

import dataclasses
import hashlib
import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adaptertune_deploy.core.errors import DatasetError
from adaptertune_deploy.data.samples import ArrayReader, FileReader, Split, join
from tests.data.builders import make_dataset, make_split, save_image


def test_a_file_is_decoded_as_rgb_and_handed_on_byte_for_byte(tmp_path: Path) -> None:
    save_image(tmp_path / "cat" / "One.PNG")
    split = Split(("cat/One.PNG",), np.zeros(1, np.int64), FileReader(tmp_path))
    image = split.image(0)
    assert (image.mode, image.size) == ("RGB", (40, 30))
    assert np.array_equal(np.asarray(image), np.asarray(Image.open(tmp_path / "cat" / "One.PNG")))
    assert split.encoded(0) == ((tmp_path / "cat" / "One.PNG").read_bytes(), ".png")


@pytest.mark.parametrize("content", [b"", b"not an image", None], ids=["empty", "text", "truncated"])
def test_a_damaged_file_is_named_in_one_line(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "broken.jpg"
    save_image(path)
    path.write_bytes(path.read_bytes()[:300] if content is None else content)
    with pytest.raises(DatasetError) as caught:
        FileReader(tmp_path).image("broken.jpg")
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert message.endswith("replace or remove this file")
    assert "\n" not in message
    assert "send" not in message


def test_a_file_that_went_away_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"gone\.jpg: no such file; replace or remove"):
        FileReader(tmp_path).image("gone.jpg")


def test_an_array_comes_back_from_its_png_pixel_for_pixel() -> None:
    split = make_split([2, 1])
    data, suffix = split.encoded(2)
    assert suffix == ".png"
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), np.asarray(split.image(2)))


def test_take_and_join_keep_names_targets_and_images_together() -> None:
    split = make_split([2, 2])
    joined = join(split.take([3, 0]), split.take([1]))
    assert joined.names == ("train/3", "train/0", "train/1")
    assert joined.targets.tolist() == [1, 0, 0]
    assert joined.image(0).tobytes() == split.image(3).tobytes()
    assert len(split.take([])) == 0


class CountingReader(FileReader):
    """Counts how often each image is hashed."""

    def sha256(self, name: str) -> str:
        HASHED.append(name)
        return super().sha256(name)


HASHED: list[str] = []


def test_contents_are_hashed_once_for_all_splits_of_one_dataset(tmp_path: Path) -> None:
    HASHED.clear()
    for number in range(4):
        save_image(tmp_path / f"{number}.png", seed=number)
    names = tuple(f"{number}.png" for number in range(4))
    split = Split(names, np.zeros(4, np.int64), CountingReader(tmp_path))
    half = split.take([3, 0])
    expected = [hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in names]
    assert half.contents() == (expected[3], expected[0])
    assert split.contents() == tuple(expected)
    assert join(half, split.take([1, 2])).contents() == tuple(expected[row] for row in (3, 0, 1, 2))
    assert sorted(HASHED) == sorted(names)


def test_content_in_memory_is_shape_and_pixels() -> None:
    pixels = {
        "wide": np.zeros((1, 4, 3), np.uint8),
        "high": np.zeros((4, 1, 3), np.uint8),
        "copy": np.zeros((4, 1, 3), np.uint8),
    }
    wide, high, copy = Split(tuple(pixels), np.zeros(3, np.int64), ArrayReader(pixels)).contents()
    assert wide != high == copy


def test_a_pipe_among_the_images_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(DatasetError, match=r"pipe\.jpg: is a pipe, expected a regular file"):
        FileReader(tmp_path).image("pipe.jpg")


def test_splits_of_two_datasets_are_not_joined() -> None:
    with pytest.raises(ValueError, match="one dataset"):
        join(make_split([1, 1]), make_split([1, 1]))


def test_a_split_checks_itself() -> None:
    reader = ArrayReader({})
    with pytest.raises(ValueError, match="expected int64"):
        Split(("a",), np.zeros(1, np.int32), reader)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="not unique"):
        Split(("a", "a"), np.zeros(2, np.int64), reader)


def test_a_dataset_checks_itself() -> None:
    good = make_dataset([2, 2], test=[1, 1])
    cases = {
        "expected at least 2": {"labels": ("one",)},
        "same label": {"labels": ("one", "one")},
        "no training image": {"train": good.train.take([])},
        "class outside 0..1": {"train": Split(("x",), np.array([2]), good.train.reader)},
        "a/0 is in two splits": {"val": good.train.take([0])},
        "class 'class 1' has no training image": {"train": good.train.take([0])},
    }
    for message, change in cases.items():
        with pytest.raises(DatasetError, match=message):
            dataclasses.replace(good, **change)
