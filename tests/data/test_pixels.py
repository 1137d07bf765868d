from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adaptertune_deploy.core.errors import DatasetError
from adaptertune_deploy.data.pixels import DecodedImages
from adaptertune_deploy.data.samples import FileReader, Split
from tests.data.builders import make_split, save_image


class CountingReader:
    """Counts how often each image is read."""

    def __init__(self, split: Split) -> None:
        self.split = split
        self.reads: list[str] = []

    def image(self, name: str) -> Image.Image:
        self.reads.append(name)
        return self.split.reader.image(name)

    def encoded(self, name: str) -> tuple[bytes, str]:
        return self.split.reader.encoded(name)


def counted(counts: list[int]) -> tuple[Split, CountingReader]:
    split = make_split(counts, side=10)  # 300 bytes an image
    reader = CountingReader(split)
    return Split(split.names, split.targets, reader), reader


def test_an_image_is_decoded_once(tmp_path: Path) -> None:
    split, reader = counted([3, 2])
    images = DecodedImages(split, 10_000)
    images.fill()
    for _ in range(3):
        for row in range(5):
            assert images.image(row).tobytes() == make_split([3, 2], side=10).image(row).tobytes()
    assert sorted(reader.reads) == sorted(split.names)
    assert images.kept == len(images) == 5


def test_beyond_the_budget_images_are_decoded_again() -> None:
    split, reader = counted([3, 2])
    images = DecodedImages(split, 2 * 300 + 299)
    for _ in range(2):
        for row in range(5):
            images.image(row)
    assert images.kept == 2
    assert sorted(reader.reads) == sorted((*split.names, *split.names[2:]))


def test_filling_stops_at_the_budget() -> None:
    split, reader = counted([100, 100])
    images = DecodedImages(split, 70 * 300)
    images.fill()
    assert images.kept == 70
    assert len(reader.reads) < 200


@pytest.mark.parametrize("budget", [1 << 20, 300])
def test_progress_goes_from_nothing_to_everything(budget: int) -> None:
    seen: list[tuple[str, int, int]] = []
    DecodedImages(make_split([100, 50]), budget).fill(lambda *report: seen.append(report), "decoding")
    assert seen[0] == ("decoding", 0, 150)
    assert seen[-1] == ("decoding", 150, 150)
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)


@pytest.mark.parametrize(("size", "expected"), [((400, 100), (160, 40)), ((50, 300), (40, 240)), ((30, 20), (30, 20))])
def test_large_images_are_reduced_to_a_shorter_side(
    tmp_path: Path, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    save_image(tmp_path / "a.png", size=size)
    split = Split(("a.png",), np.zeros(1, np.int64), FileReader(tmp_path))
    assert DecodedImages(split, 1 << 20, shorter_side=40).image(0).size == expected
    assert DecodedImages(split, 1 << 20).image(0).size == size


def test_a_damaged_image_is_met_while_filling(tmp_path: Path) -> None:
    for number in range(4):
        save_image(tmp_path / f"{number}.png")
    (tmp_path / "2.png").write_bytes(b"broken")
    split = Split(tuple(f"{number}.png" for number in range(4)), np.zeros(4, np.int64), FileReader(tmp_path))
    with pytest.raises(DatasetError, match=r"2\.png: .*replace or remove"):
        DecodedImages(split, 1 << 20).fill()
