"""benchmarks.training.subsets: how many of each class, the same ones every time."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.training.subsets import UNEQUAL, few_of_each, link_subset, unequal


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for part, count in (("train", 160), ("test", 3)):
        for label in "abcdefghij":
            folder = tmp_path / "source" / part / label
            folder.mkdir(parents=True)
            for number in range(count):
                (folder / f"{part}{number}.png").write_bytes(b"image")
    return tmp_path / "source"


def held(folder: Path) -> dict[str, list[str]]:
    return {path.name: sorted(image.name for image in path.iterdir()) for path in sorted(folder.iterdir())}


def test_classes_get_the_numbers_asked_for_and_every_test_image(source: Path, tmp_path: Path) -> None:
    folder = unequal(source, tmp_path / "unequal")
    assert tuple(len(images) for images in held(folder / "train").values()) == UNEQUAL
    assert held(folder / "test") == held(source / "test")
    assert all(path.read_bytes() == b"image" for path in folder.rglob("*.png"))


def test_the_same_images_are_taken_again_and_more_of_them_keep_the_fewer(source: Path, tmp_path: Path) -> None:
    five, again, nine = (
        held(few_of_each(source, tmp_path / name, count) / "train") for name, count in (("x", 5), ("y", 5), ("z", 9))
    )
    assert five == again
    assert all(set(five[label]) < set(nine[label]) for label in "abcdefghij")
    assert five["a"] != [f"train{number}.png" for number in range(5)]


def test_too_few_images_are_said(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"train/b holds 160 images, expected at least 161"):
        link_subset(source, tmp_path / "t", {"b": 161})
