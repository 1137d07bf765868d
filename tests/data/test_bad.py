from __future__ import annotations

import os
from pathlib import Path

import pytest

from adaptertune_deploy.core.errors import DatasetError
from adaptertune_deploy.data.bad import NAMED, drop_bad
from adaptertune_deploy.data.pixels.cache import PixelCache
from adaptertune_deploy.data.samples import Dataset
from adaptertune_deploy.data.sources.folder import open_folder
from tests.builders import encode, make_image, make_preprocess_spec
from tests.data.builders import make_dataset, make_folder

SPEC = make_preprocess_spec((224, 224))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "pictures"
    make_folder(root / "train", {"cat": 4, "dog": 4})
    make_folder(root / "val", {"cat": 2, "dog": 2}, size=(41, 30))
    make_folder(root / "test", {"cat": 2, "dog": 2}, size=(42, 30))
    return root


def opened(root: Path) -> Dataset:
    return open_folder(root, "pictures", "animals")


def spoil(root: Path) -> Dataset:
    """Spoil an image in every way and split, one after it was listed; returns the dataset."""
    (root / "train/cat/1.png").write_bytes(b"")
    (root / "train/dog/0.png").write_bytes(encode(make_image())[:100])
    (root / "train/dog/2.png").write_bytes(encode(make_image(20_000, 1)))
    (root / "val/cat/0.png").write_text("no image")
    dataset = opened(root)
    (root / "test/dog/1.png").unlink()
    return dataset


BAD = ("train/cat/1.png", "train/dog/0.png", "train/dog/2.png", "val/cat/0.png", "test/dog/1.png")


def test_a_good_dataset_is_left_as_it_is(root: Path) -> None:
    for dataset in (opened(root), make_dataset([2, 2])):
        pixels = PixelCache(SPEC)
        assert drop_bad(dataset, pixels) is dataset
        assert drop_bad(dataset, pixels, skip=True) is dataset


def test_bad_images_are_refused_in_one_line_that_names_the_first_and_the_way_out(root: Path) -> None:
    with pytest.raises(DatasetError) as caught:
        drop_bad(spoil(root), PixelCache(SPEC))
    assert str(caught.value) == (
        f"pictures: 5 images can't be used, first {root / 'train/cat/1.png'}: the image is empty (0 bytes); replace or "
        "remove them, or leave them out with --skip-bad"
    )


def test_a_single_bad_image_is_refused_too(root: Path) -> None:
    (root / "test/dog/0.png").write_text("no image")
    with pytest.raises(DatasetError) as caught:
        drop_bad(opened(root), PixelCache(SPEC))
    assert str(caught.value) == (
        f"pictures: {root / 'test/dog/0.png'}: the data is not a JPEG, PNG, WEBP, BMP or GIF image; replace or remove "
        "it, or leave it out with --skip-bad"
    ).replace("WEBP", "WebP")


def test_with_the_option_they_are_left_out_by_name(root: Path) -> None:
    dataset = spoil(root)
    kept = drop_bad(dataset, PixelCache(SPEC), skip=True)
    assert kept.skipped == BAD
    assert kept.notes[-1] == f"5 images can't be used and were left out: {', '.join(BAD)}"
    for before, after in ((dataset.train, kept.train), (dataset.val, kept.val), (dataset.test, kept.test)):
        assert before is not None
        assert after is not None
        assert after.names == tuple(name for name in before.names if name not in BAD)
        assert after.targets.tolist() == [
            target for name, target in zip(before.names, before.targets.tolist(), strict=True) if name not in BAD
        ]


def test_a_note_names_a_few_and_counts_the_rest(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "pictures", {"cat": NAMED + 3, "dog": 2})
    for number in range(NAMED + 2):
        (root / "cat" / f"{number}.png").write_text(f"no image {number}")
    kept = drop_bad(opened(root), PixelCache(SPEC), skip=True)
    assert len(kept.skipped) == NAMED + 2
    assert kept.notes[-1].endswith(" and 2 more")


def test_what_was_decoded_is_not_decoded_again(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATD_CACHE", str(tmp_path / "cache"))
    pixels = PixelCache(SPEC)
    kept = drop_bad(spoil(root), pixels, skip=True)
    files = sorted(os.listdir(tmp_path / "cache" / "pixels"))
    assert len(files) == 5  # two views of train and val, one of test
    assert kept.val is not None
    for split in (kept.train, kept.val, kept.train.take([0, 2])):
        assert pixels.fill(split, reduced=True) == {}
    assert sorted(os.listdir(tmp_path / "cache" / "pixels")) == files


def test_a_class_that_loses_all_its_training_images_is_named(root: Path) -> None:
    for number in range(4):
        (root / f"train/dog/{number}.png").write_text("no image")
    with pytest.raises(DatasetError, match=r"^pictures: none of the training images of class 'dog' can be used"):
        drop_bad(opened(root), PixelCache(SPEC), skip=True)


def test_a_split_that_loses_all_its_images_is_named(root: Path) -> None:
    for label in ("cat", "dog"):
        for number in range(2):
            (root / f"test/{label}/{number}.png").write_text("no image")
    with pytest.raises(DatasetError, match=r"^pictures: none of the images of test can be used"):
        drop_bad(opened(root), PixelCache(SPEC), skip=True)
