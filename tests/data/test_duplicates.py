from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from adaptertune_deploy.data.datasets import open_dataset
from adaptertune_deploy.data.duplicates import (
    EXACT,
    NEAR,
    NOT_LOOKED_FOR,
    TRAIN,
    Duplicates,
    Told,
    contents_of,
    find,
    placed,
    told,
)
from adaptertune_deploy.data.looks.quick import look
from adaptertune_deploy.data.samples import FileReader, Split
from tests.data.builders import make_split
from tests.data.scenes import save_scene, scene


def splits_of(root: Path, **parts: Mapping[str, int]) -> dict[str, Split]:
    """Return splits of files below a folder: split -> name -> class."""
    reader = FileReader(root)
    return {part: Split(tuple(of), np.array([*of.values()], dtype=np.int64), reader) for part, of in parts.items()}


def names(found: Duplicates, kind: str) -> list[set[str]]:
    return [{member.name for member in group.members} for group in found.of(kind)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a folder of scenes 0 to 3 as PNG, and of copies of scene 0 and 1 saved in other ways."""
    for seed in range(4):
        save_scene(tmp_path / f"{seed}.png", seed)
    (tmp_path / "0-bytes.png").write_bytes((tmp_path / "0.png").read_bytes())
    scene(0).save(tmp_path / "0-again.png", compress_level=1)
    scene(0).save(tmp_path / "0-lossless.webp", lossless=True)
    scene(1).save(tmp_path / "1-jpeg.jpg", quality=80)
    ImageOps.mirror(scene(1)).resize((120, 116)).save(tmp_path / "1-mirrored.jpg")
    return tmp_path


def test_different_images_have_no_copies(root: Path) -> None:
    found = find(splits_of(root, train={"0.png": 0, "1.png": 0}, test={"2.png": 1, "3.png": 1}))
    assert found == Duplicates((), 4)
    assert [*found.leaked(EXACT), *found.leaked(NEAR), *found.conflicts(EXACT), *found.within(EXACT)] == []


@pytest.mark.parametrize("copy", ["0-bytes.png", "0-again.png", "0-lossless.webp"])
def test_the_same_pixels_are_an_exact_copy_however_they_were_saved(root: Path, copy: str) -> None:
    found = find(splits_of(root, train={"0.png": 0, "1.png": 0}, test={copy: 0, "2.png": 0}))
    assert names(found, EXACT) == [{"0.png", copy}]
    assert names(found, NEAR) == []
    assert [(test.name, other.name) for test, other in found.leaked(EXACT)] == [(copy, "0.png")]


@pytest.mark.parametrize("copy", ["1-jpeg.jpg", "1-mirrored.jpg"])
def test_an_image_saved_with_loss_is_a_near_copy(root: Path, copy: str) -> None:
    found = find(splits_of(root, train={"0.png": 0, "1.png": 0}, test={copy: 0, "2.png": 0}))
    assert names(found, EXACT) == []
    assert names(found, NEAR) == [{"1.png", copy}]
    assert [(test.name, other.name) for test, other in found.leaked(NEAR)] == [(copy, "1.png")]


def test_an_exact_leak_is_not_a_near_one_as_well(root: Path) -> None:
    (root / "1-bytes.png").write_bytes((root / "1.png").read_bytes())
    test = {"1-bytes.png": 0, "2.png": 0}
    found = find(splits_of(root, train={"1.png": 0, "1-jpeg.jpg": 0}, test=test))
    assert names(found, NEAR) == [{"1.png", "1-bytes.png", "1-jpeg.jpg"}]
    assert len(found.leaked(EXACT)) == 1
    assert found.leaked(NEAR) == ()
    assert [(one.name, other.name) for one, other in found.within(NEAR)] == [("1-jpeg.jpg", "1.png")]


def test_copies_within_the_test_alone_do_not_leak(root: Path) -> None:
    found = find(splits_of(root, train={"1.png": 0}, test={"0.png": 0, "0-bytes.png": 0, "2.png": 0}))
    assert found.leaked(EXACT) == ()
    assert [(one.name, other.name) for one, other in found.within(EXACT)] == [("0-bytes.png", "0.png")]


def test_validation_images_train_so_they_leak_too(root: Path) -> None:
    found = find(splits_of(root, train={"1.png": 0}, val={"0.png": 0}, test={"0-again.png": 0}))
    assert [(one.split, other.split) for one, other in found.leaked(EXACT)] == [("test", "val")]
    assert found.within(EXACT) == ()
    found = find(splits_of(root, train={"0.png": 0}, val={"0-again.png": 0}, test={"2.png": 0}))
    assert found.leaked(EXACT) == ()
    assert [(one.split, other.split) for one, other in found.within(EXACT)] == [("val", "train")]


def test_an_image_under_two_labels(root: Path) -> None:
    found = find(splits_of(root, train={"0.png": 0, "0-again.png": 1, "1.png": 0, "1-jpeg.jpg": 1, "2.png": 2}))
    assert [{(member.name, member.label) for member in group.members} for group in found.conflicts(EXACT)] == [
        {("0.png", 0), ("0-again.png", 1)}
    ]
    assert [{member.name for member in group.members} for group in found.conflicts(NEAR)] == [{"1.png", "1-jpeg.jpg"}]


def test_a_conflict_that_an_exact_copy_explains_is_told_once(root: Path) -> None:
    scene(0).save(root / "0-jpeg.jpg")
    found = find(splits_of(root, train={"0.png": 0, "0-again.png": 1, "0-jpeg.jpg": 1}))
    assert len(found.conflicts(EXACT)) == 1
    assert names(found, NEAR) == [{"0.png", "0-again.png", "0-jpeg.jpg"}]
    assert found.conflicts(NEAR) == ()


def test_blank_images_match_only_where_they_are_equal(tmp_path: Path) -> None:
    for name, grey in (("a", 250), ("b", 250), ("c", 249), ("d", 10)):
        Image.new("RGB", (64, 64), (grey,) * 3).save(tmp_path / f"{name}.png")
    found = find(splits_of(tmp_path, train={f"{name}.png": 0 for name in "abcd"}))
    assert names(found, EXACT) == [{"a.png", "b.png"}]
    assert names(found, NEAR) == []


def test_unreadable_images_are_passed_over(root: Path) -> None:
    for name in ("x.png", "y.png"):
        (root / name).write_bytes(b"broken")
    found = find(splits_of(root, train={"x.png": 0, "0.png": 0}, test={"y.png": 0, "gone.png": 0, "0-bytes.png": 0}))
    assert (names(found, EXACT), found.images) == ([{"0.png", "0-bytes.png"}], 2)


def test_images_that_are_alike_as_a_whole_have_exact_copies_only(tmp_path: Path) -> None:
    digits = open_dataset("digits").train
    for row in range(40):
        digits.image(row).resize((64, 64)).save(tmp_path / f"{row}.png")
    (tmp_path / "copy.png").write_bytes((tmp_path / "7.png").read_bytes())
    found = find(splits_of(tmp_path, train={f"{row}.png": 0 for row in range(40)}, test={"copy.png": 0}))
    assert found.alike
    assert names(found, EXACT) == [{"7.png", "copy.png"}]


def test_training_says_that_near_copies_of_images_that_are_alike_were_not_looked_for(tmp_path: Path) -> None:
    digits = open_dataset("digits").train
    for row in range(40):
        digits.image(row).resize((64, 64)).save(tmp_path / f"{row}.png")
    parts = {"train": range(30), "test": range(30, 40)}
    splits = splits_of(tmp_path, **{part: {f"{row}.png": 0 for row in rows} for part, rows in parts.items()})
    assert told(look(splits)) == Told(others=(NOT_LOOKED_FOR,))


def test_progress_tells_of_reading_then_of_comparing(root: Path) -> None:
    reports: list[tuple[str, int, int]] = []
    find(splits_of(root, train={"0.png": 0, "1.png": 0}), lambda *report: reports.append(report))
    assert list(dict.fromkeys(what for what, _, _ in reports)) == ["reading images", "comparing images"]
    assert reports[-1][1] == reports[-1][2]


def test_what_training_says(root: Path) -> None:
    train = {"0.png": 0, "1.png": 0, "2.png": 1, "0-lossless.webp": 1}
    test = {"0-again.png": 0, "0-bytes.png": 0, "1-jpeg.jpg": 0, "3.png": 1}
    splits = splits_of(root, train=train, test=test)
    said = told(look(splits), labels=("cat", "dog"))
    (exact, near), (repeated, labels) = said.leaked, said.others
    assert said.sentences == (exact, near, repeated, labels)
    assert repeated == (
        "1 of 4 test images repeats another one (first: 0-bytes.png = 0-again.png): each counts, so that intervals and "
        "tests promise too much; `atd data check` lists them"
    )
    assert exact == (
        "2 of 4 test images are also training images (first: 0-again.png = 0.png): accuracy on them means nothing; "
        "`atd data check` lists them"
    )
    assert near.startswith("1 of 4 test images is a near copy of a training image (first: 1-jpeg.jpg ~ 1.png): ")
    assert labels == (
        "4 images stand under two labels (first: 0.png as 'cat' and 0-lossless.webp as 'dog'); "
        "`atd data check` lists them"
    )
    assert "0.png as class 0 and" in told(look(splits)).others[1]


def test_copies_that_other_programs_saved_have_one_content(root: Path) -> None:
    train = {"0.png": 0, "1.png": 0, "0-again.png": 0, "0-lossless.webp": 0, "1-jpeg.jpg": 0, "0-bytes.png": 0}
    splits = splits_of(root, train=train, test={"2.png": 0})
    contents = contents_of(look(splits), TRAIN)
    zero, one, again, lossless, jpeg, same = contents
    assert zero == again == lossless == same
    assert len({zero, one, jpeg}) == 3
    assert len(contents_of(look(splits), "test")) == 1


def test_the_looks_of_a_dataset_are_placed_as_it_is_divided(root: Path) -> None:
    whole = splits_of(root, train={"0.png": 0, "1.png": 1, "2.png": 1}, val={"3.png": 0})
    looks = look(whole)
    divided = splits_of(root, train={"0.png": 0, "2.png": 1, "3.png": 0}, test={"1.png": 1})
    found = placed(looks, divided["train"], divided["test"])
    assert found == look(divided)


def test_training_says_nothing_of_a_sound_dataset(root: Path) -> None:
    splits = splits_of(root, train={"0.png": 0, "1.png": 1}, test={"2.png": 0, "3.png": 1})
    assert told(look(splits)) == Told()
    assert told(look({"train": make_split([4, 4], "train", 20), "test": make_split([2, 2], "test", 20)})) == Told()


def test_the_known_copies_of_a_real_dataset(shared_data: Path) -> None:
    dataset = open_dataset("pets", shared_data / "pets-3breeds")
    assert dataset.test is not None
    found = find({"train": dataset.train, "test": dataset.test})
    assert names(found, EXACT) == []
    assert sorted(sorted(of) for of in names(found, NEAR)) == [
        ["Abyssinian_11.jpg", "Abyssinian_177.jpg"],
        ["Abyssinian_122.jpg", "Abyssinian_172.jpg"],
        ["Abyssinian_151.jpg", "Abyssinian_99.jpg"],
        ["Abyssinian_24.jpg", "Abyssinian_56.jpg"],
    ]
    assert [(one.name, other.name) for one, other in found.leaked(NEAR)] == [
        ("Abyssinian_99.jpg", "Abyssinian_151.jpg")
    ]
