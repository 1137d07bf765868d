from __future__ import annotations

import hashlib
import inspect
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adaptertune_deploy.data import datasets
from adaptertune_deploy.data.division import splits
from adaptertune_deploy.data.division.splits import Splits, split
from adaptertune_deploy.data.duplicates import TRAIN, contents_of
from adaptertune_deploy.data.looks.quick import look
from adaptertune_deploy.data.samples import ArrayReader, Split
from tests.data.builders import make_dataset, make_folder, save_image


def names(parts: Splits) -> set[str]:
    found = [name for part in (parts.train, parts.test) if part is not None for name in part.names]
    assert len(found) == len(set(found)), "an image is in two parts"
    return set(found)


def test_an_official_test_split_is_taken_as_it_is() -> None:
    dataset = make_dataset([5, 5], test=[3, 3])
    parts = split(dataset)
    assert (parts.train, parts.test, parts.rule, parts.notes) == (dataset.train, dataset.test, "official", ())


def test_the_official_validation_images_train_and_a_note_says_so() -> None:
    dataset = make_dataset([5, 5], val=[2, 2], test=[3, 3])
    parts = split(dataset)
    assert dataset.val is not None
    assert parts.train.names == dataset.train.names + dataset.val.names
    assert parts.test is dataset.test
    assert parts.notes == ("the 4 official validation images train too",)
    assert names(parts) == {*dataset.train.names, *dataset.val.names, *dataset.test.names}  # type: ignore[union-attr]


def test_a_dataset_without_test_gives_up_a_stratified_fifth_and_says_so() -> None:
    dataset = make_dataset([50, 25])
    parts = split(dataset)
    assert parts.test is not None
    assert np.bincount(parts.test.targets).tolist() == [10, 5]
    assert (names(parts), parts.rule) == (set(dataset.train.names), "stratified:0.2")
    assert parts.notes == ("there is no test split, so 15 of 75 training images are held out as test, stratified",)


def test_validation_images_are_never_drawn_as_test() -> None:
    dataset = make_dataset([10, 10], val=[10, 10])
    parts = split(dataset)
    assert parts.test is not None
    assert dataset.val is not None
    assert set(parts.test.names) < set(dataset.train.names)
    assert (len(parts.train), len(parts.test)) == (36, 4)


@pytest.mark.parametrize("seed", range(3))
def test_copies_never_straddle_train_and_test(tmp_path: Path, seed: int) -> None:
    root = make_folder(tmp_path / f"pictures {seed}", {"cat": 20, "dog": 20})
    for label in ("cat", "dog"):
        for number in range(12):
            shutil.copy(root / label / f"{number}.png", root / label / f"copy of {(number * 7 + seed) % 12}.png")
    parts = split(datasets.open_dataset(str(root), task="animals"))
    assert parts.test is not None
    contents = [{(root / name).read_bytes() for name in part.names} for part in (parts.train, parts.test)]
    assert not contents[0] & contents[1]
    assert len(names(parts)) == 64


def saved_twice(root: Path, numbers: Mapping[str, range], size: tuple[int, int] = (40, 30)) -> Path:
    """Write class folders in which each image lies twice, as JPEG and as the same pixels in a PNG file."""
    for label, of in numbers.items():
        for number in of:
            save_image(root / label / f"{number}.jpg", seed=number, size=size)
            Image.open(root / label / f"{number}.jpg").save(root / label / f"{number} again.png")
    return root


@pytest.mark.parametrize("size", [(40, 30), (320, 256)])
def test_copies_in_files_of_other_bytes_never_straddle_train_and_test(size: tuple[int, int], tmp_path: Path) -> None:
    dataset = datasets.open_dataset(str(saved_twice(tmp_path / "a", {"cat": range(9), "dog": range(10, 19)}, size)))
    parts = split(dataset, contents=contents_of(look(dataset.parts), TRAIN))
    assert parts.test is not None
    stems = [{Path(name).stem.removesuffix(" again") for name in part.names} for part in (parts.train, parts.test)]
    assert not stems[0] & stems[1]
    assert len(parts.test) == 2 * len(stems[1]) == 8


def test_contents_change_nothing_where_no_image_lies_in_files_of_other_bytes(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "pictures", {"cat": 20, "dog": 12})
    shutil.copy(root / "cat" / "3.png", root / "cat" / "copy of 3.png")
    dataset = datasets.open_dataset(str(root))
    plain, told = split(dataset), split(dataset, contents=contents_of(look(dataset.parts), TRAIN))
    assert plain.test is not None
    assert told.test is not None
    assert (plain.sha256, plain.test.names) == (told.sha256, told.test.names)


def test_three_images_are_enough_to_start() -> None:
    parts = split(make_dataset([2, 1]))
    assert parts.test is not None
    assert (len(parts.train), len(parts.test)) == (2, 1)
    two = split(make_dataset([1, 1]))
    assert (len(two.train), two.test) == (2, None)
    assert two.notes == (
        "there is no test split, and no image can be held out for one: every class has a single image",
    )


def test_the_split_knows_no_run_seed_and_repeats_itself() -> None:
    assert "seed" not in inspect.signature(split).parameters
    first, second = (split(make_dataset([30, 30])) for _ in range(2))
    np.random.seed(7)  # a run that seeds the global generator changes nothing
    third = split(make_dataset([30, 30]))
    assert first.sha256 == second.sha256 == third.sha256
    assert first.test is not None
    assert third.test is not None
    assert first.test.names == third.test.names


def test_the_hash_is_that_of_names_and_contents_in_order(tmp_path: Path) -> None:
    # The value is part of the format: an adapter written by an older release names it.
    root = make_folder(tmp_path / "pictures" / "train", {"a": 2, "b": 1}).parent
    make_folder(root / "test", {"a": 1, "b": 1})
    parts = split(datasets.open_dataset(str(root)))
    words = ["train", "3"]
    for name in ("train/a/0.png", "train/a/1.png", "train/b/0.png"):
        words += [name, hashlib.sha256((root / name).read_bytes()).hexdigest()]
    words += ["test", "2"]
    for name in ("test/a/0.png", "test/b/0.png"):
        words += [name, hashlib.sha256((root / name).read_bytes()).hexdigest()]
    assert parts.sha256 == hashlib.sha256("".join(f"{word}\0" for word in words).encode()).hexdigest()


def test_whatever_happens_to_an_image_changes_the_hash(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "pictures", {"cat": 6, "dog": 6})

    def found() -> str:
        return split(datasets.open_dataset(str(root))).sha256

    hashes = [found()]
    save_image(root / "cat" / "new.png", seed=100)
    hashes.append(found())
    (root / "dog" / "0.png").unlink()
    hashes.append(found())
    (root / "dog" / "1.png").rename(root / "dog" / "renamed.png")
    hashes.append(found())
    save_image(root / "dog" / "2.png", seed=200)
    hashes.append(found())
    assert len(set(hashes)) == 5
    cat, dog = (root / label / "3.png" for label in ("cat", "dog"))
    save_image(dog, seed=300)
    before = found()
    one, other = cat.read_bytes(), dog.read_bytes()
    cat.write_bytes(other)
    dog.write_bytes(one)
    assert found() != before


def test_an_image_that_moves_from_train_to_test_changes_the_hash() -> None:
    moved, unmoved = make_dataset([4, 4], test=[2, 2]), make_dataset([4, 4], val=[2, 2])
    assert split(moved).sha256 != split(unmoved).sha256


def test_changed_pixels_in_memory_change_the_hash() -> None:
    first, second = make_dataset([3, 3], test=[1, 1]), make_dataset([3, 3], test=[1, 1])
    assert split(first).sha256 == split(second).sha256
    third = make_dataset([3, 3], test=[1, 1])
    third.train.reader.pixels["c/1"][0, 0, 0] ^= 1  # type: ignore[attr-defined]
    assert split(third).sha256 != split(first).sha256


def test_the_hash_of_the_labels_is_that_of_their_names_in_order() -> None:
    # The value is part of the format: an adapter that was written before names it.
    dataset = make_dataset([2, 1], test=[1, 1])
    words = ["train", "3", *(dataset.labels[label] for label in (0, 0, 1)), "test", "2", *dataset.labels]
    assert split(dataset).labels_sha256 == hashlib.sha256("".join(f"{word}\0" for word in words).encode()).hexdigest()


def test_a_label_that_moves_changes_the_hash_of_the_labels_alone() -> None:
    dataset = make_dataset([2, 1], test=[1, 1])
    before = split(dataset)
    assert dataset.test is not None
    dataset.test.targets[:] = dataset.test.targets[::-1].copy()
    after = split(dataset)
    assert after.sha256 == before.sha256
    assert after.labels_sha256 != before.labels_sha256


def test_names_that_are_no_unicode_are_hashed() -> None:
    pixels = {f"b\udcff/{row}": np.full((1, 1, 3), row, np.uint8) for row in range(6)}
    dataset = make_dataset([3, 3], test=[1, 1])
    odd = Split(tuple(pixels), np.repeat(np.arange(2, dtype=np.int64), 3), ArrayReader(pixels))
    object.__setattr__(dataset, "train", odd)
    object.__setattr__(dataset, "test", None)
    parts = split(dataset)
    assert len(parts.sha256) == 64
    assert parts.test is not None


def test_progress_is_told_about_the_hashing() -> None:
    seen: list[tuple[str, int, int]] = []
    split(make_dataset([5, 5]), lambda *report: seen.append(report))
    assert seen == [("hashing images", 0, 10), ("hashing images", 10, 10)]


def test_every_class_of_the_real_pets_trains(shared_data: Path) -> None:
    parts = split(datasets.open_dataset("pets", shared_data / "pets"))
    assert parts.test is not None
    assert np.bincount(parts.train.targets, minlength=37).min() >= 1
    assert len(names(parts)) == 259 + 74


def test_the_salt_is_a_constant() -> None:
    assert splits.SALT == "adaptertune-deploy split 1"
