"""data.readers: one method of a source is enough, and gives what a file or an array gives."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adaptertune_deploy.core.errors import DatasetError
from adaptertune_deploy.data.readers import DrawnReader, EncodedReader
from adaptertune_deploy.data.samples import FileReader, Split
from tests.builders import encode, make_image


class Bytes(EncodedReader):
    def __init__(self, data: bytes) -> None:
        self.data = data

    def encoded(self, name: str) -> tuple[bytes, str]:
        return self.data, ".jpg"


class Drawn(DrawnReader):
    def drawn(self, name: str) -> Image.Image:
        return make_image(20, 10, seed=int(name))


def photo() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encode(make_image(240, 160), "JPEG", exif=exif)


@pytest.mark.parametrize("orientation", ["exif", "ignored"])
@pytest.mark.parametrize("at_least", [None, 40])
def test_bytes_are_read_as_a_file_is(tmp_path: Path, orientation: str, at_least: int | None) -> None:
    (tmp_path / "a.jpg").write_bytes(photo())
    file, ours = FileReader(tmp_path), Bytes(photo())
    theirs = file.image("a.jpg", orientation, at_least)
    np.testing.assert_array_equal(np.asarray(ours.image("a.jpg", orientation, at_least)), np.asarray(theirs))
    assert ours.size("a.jpg") == file.size("a.jpg") == (240, 160)
    assert ours.sha256("a.jpg") == file.sha256("a.jpg") == hashlib.sha256(photo()).hexdigest()


@pytest.mark.parametrize("data", [b"", b"no image", photo()[:100]], ids=["empty", "text", "truncated"])
def test_damaged_bytes_are_named_in_one_line(data: bytes) -> None:
    with pytest.raises(DatasetError, match=r"^row 7: .*; replace or remove this image$"):
        Bytes(data).image("row 7")


def test_a_drawn_image_is_what_was_drawn() -> None:
    reader = Drawn()
    data, suffix = reader.encoded("3")
    for image in (reader.image("3"), reader.image("3", "ignored", 5), Image.open(io.BytesIO(data))):
        np.testing.assert_array_equal(np.asarray(image), np.asarray(make_image(20, 10, seed=3)))
    assert (reader.size("3"), suffix) == ((20, 10), ".png")


def test_drawn_images_are_told_apart_by_their_pixels_and_shape() -> None:
    one, other, again = Split(("1", "2", "01"), np.zeros(3, np.int64), Drawn()).contents()
    assert one == again != other

    class Flat(DrawnReader):
        def drawn(self, name: str) -> Image.Image:
            return Image.new("RGB", (int(name), 12 // int(name)))

    assert len({Flat().sha256(name) for name in ("1", "2", "3", "12")}) == 4
