from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from adaptertune_deploy.core.errors import FormatError
from adaptertune_deploy.data.pixels.pixel_file import MAGIC, PixelFile, PixelWriter
from adaptertune_deploy.data.samples import Pixels

SIZES = [(2, 3), (1, 1), (7, 5)]


def images() -> list[Pixels | None]:
    generator = np.random.default_rng(0)
    found: list[Pixels | None] = [generator.integers(0, 256, (*size, 3), dtype=np.uint8) for size in SIZES]
    return [*found[:2], None, found[2]]


def write(path: Path) -> PixelFile:
    writer = PixelWriter(path, 4)
    for pixels in images():
        writer.append(pixels)
    return writer.finish()


def test_what_was_written_is_read(tmp_path: Path) -> None:
    for file in (write(tmp_path / "a" / "x.pixels"), PixelFile(tmp_path / "a" / "x.pixels")):
        assert len(file) == 4
        for index, expected in enumerate(images()):
            found = file[index]
            if expected is None:
                assert found is None
            else:
                assert found is not None
                np.testing.assert_array_equal(found, expected, strict=True)
                assert not found.flags.writeable
    assert os.listdir(tmp_path / "a") == ["x.pixels"]
    assert (tmp_path / "a").stat().st_mode & 0o077 == 0


def test_the_layout_is_the_documented_one(tmp_path: Path) -> None:
    write(tmp_path / "x.pixels")
    data = (tmp_path / "x.pixels").read_bytes()
    assert data[:8] == b"ATDPIX\0\1"
    table = np.frombuffer(data, "<i8", 13, offset=8).tolist()
    start = 8 + 8 * 13
    assert table == [4, start, 2, 3, start + 18, 1, 1, 0, 0, 0, start + 21, 7, 5]
    assert data[start:] == b"".join(pixels.tobytes() for pixels in images() if pixels is not None)


def test_pixels_that_are_not_contiguous_are_written_right(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 4, 5), dtype=np.uint8).transpose(2, 1, 0)
    writer = PixelWriter(tmp_path / "x.pixels", 1)
    writer.append(pixels)
    found = writer.finish()[0]
    assert found is not None
    np.testing.assert_array_equal(found, pixels, strict=True)


def test_nothing_has_the_name_before_it_is_whole(tmp_path: Path) -> None:
    writer = PixelWriter(tmp_path / "x.pixels", 2)
    writer.append(images()[0])
    assert not (tmp_path / "x.pixels").exists()
    with pytest.raises(ValueError, match="1 of 2 images were written"):
        writer.finish()
    writer.abandon()
    writer.abandon()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("length", [0, 5, 12, 40, 100, -1])
def test_a_part_of_a_file_is_refused(tmp_path: Path, length: int) -> None:
    write(tmp_path / "x.pixels")
    data = (tmp_path / "x.pixels").read_bytes()
    (tmp_path / "y.pixels").write_bytes(data[:length])
    with pytest.raises(FormatError, match=r"y\.pixels"):
        PixelFile(tmp_path / "y.pixels")


def test_other_content_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "x.pixels")
    data = (tmp_path / "x.pixels").read_bytes()
    for other in (
        MAGIC[:-1] + b"\2" + data[8:],
        data + b"\0",
        MAGIC + (1 << 60).to_bytes(8, "little"),
        MAGIC + b"\xff" * 8,
    ):
        (tmp_path / "y.pixels").write_bytes(other)
        with pytest.raises(FormatError):
            PixelFile(tmp_path / "y.pixels")


def test_a_worker_maps_the_file_itself(tmp_path: Path) -> None:
    file = write(tmp_path / "x.pixels")
    data = pickle.dumps(file)
    assert len(data) < 500
    copy = pickle.loads(data)
    assert copy[3].tobytes() == file[3].tobytes()  # type: ignore[union-attr]


def test_a_removed_file_stays_readable_for_who_opened_it(tmp_path: Path) -> None:
    file = write(tmp_path / "x.pixels")
    (tmp_path / "x.pixels").unlink()
    assert file[3] is not None
    assert file[3].tobytes() == images()[3].tobytes()  # type: ignore[union-attr]
