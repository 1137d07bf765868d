"""serve.opened: images of any kind, answered as a server would."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from adaptertune_deploy.core.errors import ImageError, UsageError
from adaptertune_deploy.serve.offline.classify import classify
from adaptertune_deploy.serve.offline.opened import OpenBundle
from tests.builders import encode, make_image
from tests.serve.fakes import FakeEngine, make_shared


@pytest.fixture
def opened() -> OpenBundle:
    return OpenBundle(make_shared())


@pytest.fixture
def png() -> bytes:
    return encode(make_image(40, 30))


def test_every_kind_of_image_is_answered_as_the_file_is(opened: OpenBundle, png: bytes, tmp_path: Path) -> None:
    path = tmp_path / "cat.png"
    path.write_bytes(png)
    image = Image.open(path)
    wanted = classify(make_shared(), [png], top_k=2)
    files = (io.BytesIO(png), path.open("rb"), bytearray(png), memoryview(png))
    for given in (path, str(path), png, image, np.asarray(image), np.asarray(image)[:, ::-1][:, ::-1], *files):
        assert opened.predict(given, top_k=2) == wanted
    files[1].close()
    together = opened.predict([path, png, image], (name for name in ["flowers"]), top_k=2)
    assert [(answer.image, answer.task) for answer in together] == [(place, "flowers") for place in range(3)]
    for answer in together:  # other kernels take other numbers of rows, so the last bits may differ
        assert [label.label for label in answer.top] == [label.label for label in wanted[1].top]
        found = [label.probability for label in answer.top]
        np.testing.assert_allclose(found, [label.probability for label in wanted[1].top], rtol=1e-4)


def test_an_image_in_memory_is_turned_as_its_file_is_and_stays_as_it_is(opened: OpenBundle) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(make_image(40, 30), "JPEG", exif=exif)
    image = Image.open(io.BytesIO(data))
    assert opened.predict(image) == opened.predict(data)
    assert image.size == Image.open(io.BytesIO(data)).size
    clear = Image.new("P", (8, 8))
    clear.info["transparency"] = 0
    opened.predict(clear)
    assert clear.info == {"transparency": 0}


def test_gray_arrays_are_gray_images(opened: OpenBundle) -> None:
    gray = np.arange(64, dtype=np.uint8).reshape(8, 8)
    assert opened.predict(gray) == opened.predict(np.stack([gray] * 3, axis=2))


def test_features_are_those_of_each_task(opened: OpenBundle, png: bytes) -> None:
    found = opened.features([png, png])
    assert list(found) == ["pets", "flowers", "digits"]
    assert all(rows.shape[0] == 2 and (rows[0] == rows[1]).all() for rows in found.values())
    assert list(opened.features(png, "pets")) == ["pets"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "no image was given"),
        ("no-such.png", r"no-such\.png: can't be read \(No such file or directory\); give an image file"),
        ([b"text", b"text"], "image 1 of 2: the data is not a JPEG"),
        ([7.5], "image 1 of 1 is a float, expected a path"),
        (np.zeros((2, 2, 4), np.uint8), r"image 1 of 1 is an array uint8 \[2, 2, 4\], expected uint8 \[H, W, 3\]"),
        (np.zeros((2, 2, 3)), r"is an array float64 \[2, 2, 3\]"),
        (np.zeros((0, 2), np.uint8), r"is an array uint8 \[0, 2\]"),
        (None, "image 1 of 1 is a NoneType, expected a path"),
        (5, "image 1 of 1 is a int, expected a path"),
        ("a\0b.png", "can't be read .*null byte"),
        (io.StringIO("text"), "image 1 of 1 gives str, expected bytes; open the file in binary"),
        (Image.new("RGB", (0, 5)), "image 1 of 1: the image has 0 x 5 pixels"),
        (Image.new("La", (4, 4)), "image 1 of 1: conversion from La to L not supported"),
        (
            Image.new("F", (4, 4)),
            "image 1 of 1: the image holds 32-bit floats, of which nobody knows",
        ),
        (Image.new("I", (4, 4), 255), "image 1 of 1: the image holds 32-bit integers, of which nobody knows"),
    ],
)
def test_what_is_no_image_is_named(opened: OpenBundle, given: Any, message: str) -> None:
    with pytest.raises((UsageError, ImageError), match=message):
        opened.predict(given)


def test_an_image_that_pillow_can_not_finish_reading_is_named(opened: OpenBundle) -> None:
    data = encode(make_image(300, 300), "JPEG")
    with pytest.raises(ImageError, match="image 1 of 1: "):
        opened.predict(Image.open(io.BytesIO(data[: len(data) // 2])))


def test_a_closed_image_is_named(opened: OpenBundle, png: bytes) -> None:
    image = Image.open(io.BytesIO(png))
    image.close()
    with pytest.raises(ImageError, match="image 1 of 1: "):
        opened.predict(image)


def test_the_end_of_the_block_closes_the_engine(png: bytes) -> None:
    engine = FakeEngine()
    with OpenBundle(make_shared(engine)) as opened:
        assert [task.name for task in opened.tasks] == ["pets", "flowers", "digits"]
        assert opened.form == "shared"
        assert not engine.closed
    assert engine.closed
