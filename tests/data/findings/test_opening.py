from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from adaptertune_deploy.core.errors import DatasetError, UsageError
from adaptertune_deploy.data.datasets import open_dataset
from adaptertune_deploy.data.division.splits import split
from adaptertune_deploy.data.duplicates import TRAIN, contents_of
from adaptertune_deploy.data.findings.opening import Opened, held_out, open_for_check
from adaptertune_deploy.data.looks.quick import look
from adaptertune_deploy.data.looks.scan import scan
from tests.data.builders import make_folder, make_pets, save_image

CLASSES = {"cat": 12, "dog": 8}


def opened(root: Path) -> Opened:
    return open_for_check(str(root))


def test_a_sound_folder_is_opened_as_training_opens_it(tmp_path: Path) -> None:
    for part in ("train", "valid", "test"):
        make_folder(tmp_path / part, CLASSES)
    found, dataset = opened(tmp_path), open_dataset(str(tmp_path), task="any")
    assert found.labels == dataset.labels
    assert {part: own.names for part, own in found.splits.items()} == {
        part: own.names for part, own in (("train", dataset.train), ("val", dataset.val), ("test", dataset.test)) if own
    }
    assert (found.absent, found.refused) == ((), "")


def test_without_a_test_the_images_that_training_holds_out_are_it(tmp_path: Path) -> None:
    found = opened(make_folder(tmp_path, CLASSES))
    expected = split(open_dataset(str(tmp_path), task="any")).test
    assert expected is not None
    assert held_out(found, scan(found.splits)) == set(expected.names)


@pytest.mark.parametrize("size", [(40, 30), (320, 256)])
def test_copies_of_other_bytes_are_held_out_as_training_holds_them_out(size: tuple[int, int], tmp_path: Path) -> None:
    for label, first in (("cat", 0), ("dog", 20)):
        for number in range(first, first + 9):
            save_image(tmp_path / label / f"{number}.jpg", seed=number, size=size)
            Image.open(tmp_path / label / f"{number}.jpg").save(tmp_path / label / f"{number}.png")
    found, dataset = opened(tmp_path), open_dataset(str(tmp_path), task="any")
    trained = split(dataset, contents=contents_of(look(dataset.parts), TRAIN)).test
    assert trained is not None
    assert held_out(found, scan(found.splits)) == set(trained.names)
    assert len(trained) == 8


def test_unreadable_images_are_not_held_out(tmp_path: Path) -> None:
    make_folder(tmp_path, {"cat": 10, "dog": 10})
    for row in range(5):
        (tmp_path / "cat" / f"{row}.png").unlink()
        (tmp_path / "cat" / f"{row}.png").symlink_to("nowhere.png")
    found = opened(tmp_path)
    held = held_out(found, scan(found.splits))
    assert len(held) == 3
    assert held.isdisjoint(f"cat/{row}.png" for row in range(5))
    assert held_out(Opened("x", found.labels, {**found.splits, "test": found.splits["train"]}), ()) == frozenset()


def test_the_folder_may_have_any_name(tmp_path: Path) -> None:
    assert opened(make_folder(tmp_path / "my pets!", CLASSES)).labels == ("cat", "dog")


def test_absent_images_of_a_list_are_told(tmp_path: Path) -> None:
    lines = [f"{breed}_{number} {breed_id} 1 1" for breed_id, breed in ((1, "a"), (2, "b")) for number in range(3)]
    root = make_pets(tmp_path, lines, ["a_9 1 1 1", "b_9 2 1 1"])
    (root / "oxford-iiit-pet" / "images" / "a_1.jpg").unlink()
    found = open_for_check("pets", root)
    assert (found.absent, found.notes) == (("a_1.jpg",), ())
    assert len(found.splits["train"]) == 5


def single_class(root: Path) -> None:
    make_folder(root, {"cat": 3})


def empty_class(root: Path) -> None:
    make_folder(root, CLASSES)
    (root / "emu").mkdir()


def other_classes(root: Path) -> None:
    make_folder(root / "train", {**CLASSES, "emu": 1})
    make_folder(root / "test", CLASSES)


@pytest.mark.parametrize(
    ("prepare", "labels", "trained"),
    [
        (single_class, ("cat",), 3),
        (empty_class, ("cat", "dog", "emu"), 20),
        (other_classes, ("cat", "dog", "emu"), 21),
    ],
)
def test_what_training_refuses_is_indexed_all_the_same(
    tmp_path: Path, prepare: Callable[[Path], None], labels: tuple[str, ...], trained: int
) -> None:
    prepare(tmp_path)
    with pytest.raises(DatasetError) as refused:
        open_dataset(str(tmp_path), task="any")
    found = opened(tmp_path)
    assert found.refused == str(refused.value)
    assert found.labels == labels
    assert len(found.splits["train"]) == trained


def test_hidden_files_and_other_files_are_not_indexed(tmp_path: Path) -> None:
    make_folder(tmp_path, {"cat": 2})
    save_image(tmp_path / "cat" / ".hidden.png")
    save_image(tmp_path / "cat" / ".folder" / "a.png")
    save_image(tmp_path / "cat" / "deep" / "a.PNG")
    (tmp_path / "cat" / "notes.txt").write_text("none")
    found = opened(tmp_path)
    assert sorted(found.splits["train"].names) == ["cat/0.png", "cat/1.png", "cat/deep/a.PNG"]


def test_macos_s_folder_is_no_class_of_what_training_refuses(tmp_path: Path) -> None:
    make_folder(tmp_path, {"cat": 2, "__MACOSX": 1})
    (tmp_path / "_empty").mkdir()
    found = opened(tmp_path)
    assert found.labels == ("_empty", "cat")
    assert found.notes == ("passed over the folder __MACOSX/, which macOS puts into archives",)


def test_a_layout_that_is_not_clear_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="holds 0 folders"):
        opened(tmp_path)
    make_folder(tmp_path / "train", CLASSES)
    make_folder(tmp_path / "cat", {"": 1})
    with pytest.raises(DatasetError, match="holds cat/ beside train/"):
        opened(tmp_path)
    with pytest.raises(UsageError, match="neither a dataset nor a folder"):
        opened(tmp_path / "nowhere")
