from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets import ImageFolder

from adaptertune_deploy.core.errors import DatasetError, UsageError
from adaptertune_deploy.core.images import preprocess
from adaptertune_deploy.data.datasets import open_dataset
from adaptertune_deploy.data.samples import Dataset
from adaptertune_deploy.data.sources.folder import IMAGE_SUFFIXES
from tests.data.builders import make_folder, save_image

CLASSES = {"cat": 3, "dog": 2}


def opened(root: Path, task: str | None = None) -> Dataset:
    return open_dataset(str(root), task=task)


def test_the_real_cifar10_agrees_with_torchvision(shared_data: Path) -> None:
    dataset = opened(shared_data / "cifar10")
    assert dataset.test is not None
    for split, theirs in ((dataset.train, "train"), (dataset.test, "test")):
        peer = ImageFolder(str(shared_data / "cifar10" / theirs))
        assert dataset.labels == tuple(peer.classes)
        assert split.targets.tolist() == peer.targets
        assert split.names == tuple(Path(path).relative_to(shared_data / "cifar10").as_posix() for path, _ in peer.imgs)
        assert np.array_equal(np.asarray(split.image(77)), np.asarray(peer[77][0]))
    assert (dataset.task, dataset.augment, dataset.val) == ("cifar10", "small", None)
    assert (dataset.non_commercial, dataset.redistributable, dataset.notes) == (None, False, ())


def test_a_flat_folder_is_all_training_images(tmp_path: Path) -> None:
    dataset = opened(make_folder(tmp_path, CLASSES), task="animals")
    assert dataset.labels == ("cat", "dog")
    assert dataset.train.names == ("cat/0.png", "cat/1.png", "cat/2.png", "dog/0.png", "dog/1.png")
    assert dataset.train.targets.tolist() == [0, 0, 0, 1, 1]
    assert (dataset.val, dataset.test, dataset.augment) == (None, None, "small")


@pytest.mark.parametrize("val", ["val", "valid", "validation", "Val"])
def test_split_folders_are_found_by_their_names(tmp_path: Path, val: str) -> None:
    for part in ("Train", val, "test"):
        make_folder(tmp_path / part, CLASSES, size=(80, 70))
    dataset = opened(tmp_path, task="animals")
    assert dataset.val is not None
    assert dataset.test is not None
    assert dataset.val.names[0] == f"{val}/cat/0.png"
    assert dataset.test.names[0] == "test/cat/0.png"
    assert dataset.augment == "fine"


@pytest.mark.parametrize("part", ["test", "val"])
def test_a_split_without_train_is_refused(tmp_path: Path, part: str) -> None:
    make_folder(tmp_path / part, CLASSES)
    make_folder(tmp_path, CLASSES)
    with pytest.raises(DatasetError, match=f"holds {part}/ but no train/.*FOLDER/train/<class>"):
        opened(tmp_path)


def test_folders_beside_train_and_two_validation_folders_are_refused(tmp_path: Path) -> None:
    for part in ("train", "val"):
        make_folder(tmp_path / part, CLASSES)
    make_folder(tmp_path / "plane", {"": 1})
    with pytest.raises(DatasetError, match="holds plane/ beside train/"):
        opened(tmp_path)
    (tmp_path / "plane").rename(tmp_path / "valid")
    with pytest.raises(DatasetError, match="holds both val/ and valid/"):
        opened(tmp_path)


def test_every_split_needs_the_same_classes(tmp_path: Path) -> None:
    make_folder(tmp_path / "train", {**CLASSES, "emu": 1})
    make_folder(tmp_path / "test", CLASSES)
    with pytest.raises(DatasetError, match="'emu' is only in train"):
        opened(tmp_path)
    make_folder(tmp_path / "test", {"emu": 1, "fox": 1})
    with pytest.raises(DatasetError, match="'fox' is only there"):
        opened(tmp_path)


def test_hidden_files_are_passed_over_and_other_files_counted(tmp_path: Path) -> None:
    make_folder(tmp_path, CLASSES)
    make_folder(tmp_path / ".thumbnails", {"": 1})
    make_folder(tmp_path / "__MACOSX", {"": 1})
    for name in (".DS_Store", "cat/.hidden.png", "cat/notes.txt", "labels.csv", "dog/deep/extra.psd"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    dataset = opened(tmp_path, task="animals")
    assert dataset.labels == ("cat", "dog")
    assert len(dataset.train) == 5
    note, of_macos = dataset.notes
    assert of_macos == "passed over the folder __MACOSX/, which macOS puts into archives"
    assert note.startswith("passed over 3 files that are no images")
    assert "first: cat/notes.txt" in note
    (tmp_path / "labels.csv").unlink()
    (tmp_path / "dog/deep/extra.psd").unlink()
    assert opened(tmp_path, task="animals").notes[0].startswith("passed over 1 file that is no image")


def test_a_folder_whose_name_begins_with_an_underscore_is_a_class(tmp_path: Path) -> None:
    make_folder(tmp_path, {**CLASSES, "_unsure": 2})
    assert opened(tmp_path, task="animals").labels == ("_unsure", "cat", "dog")
    assert ImageFolder(str(tmp_path)).classes == ["_unsure", "cat", "dog"]


def test_macos_s_folder_beside_the_splits_and_in_one_is_passed_over(tmp_path: Path) -> None:
    for part in ("train", "test"):
        make_folder(tmp_path / part, CLASSES)
    make_folder(tmp_path / "__MACOSX", {"": 1})
    make_folder(tmp_path / "test" / "__MACOSX", {"": 1})
    dataset = opened(tmp_path, task="animals")
    assert dataset.labels == ("cat", "dog")
    assert [note.split(",")[0] for note in dataset.notes] == [
        f"passed over the folder {folder}/" for folder in ("__MACOSX", "test/__MACOSX")
    ]


def test_images_below_a_class_count_and_links_in_a_circle_end(tmp_path: Path) -> None:
    make_folder(tmp_path / "data", CLASSES)
    save_image(tmp_path / "data" / "cat" / "kittens" / "tiny.JPG")
    (tmp_path / "data" / "cat" / "again").symlink_to(tmp_path / "data" / "cat")
    make_folder(tmp_path / "elsewhere", {"": 2})
    (tmp_path / "data" / "eel").symlink_to(tmp_path / "elsewhere")
    dataset = opened(tmp_path / "data")
    assert dataset.labels == ("cat", "dog", "eel")
    assert dataset.train.targets.tolist() == [0, 0, 0, 0, 1, 1, 2, 2]
    assert "cat/kittens/tiny.JPG" in dataset.train.names


def test_empty_and_single_classes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="holds 0 folders of images, expected at least 2"):
        opened(tmp_path)
    make_folder(tmp_path, {"cat": 1})
    with pytest.raises(DatasetError, match="holds 1 folder of images, expected at least 2"):
        opened(tmp_path)
    (tmp_path / "dog").mkdir()
    with pytest.raises(DatasetError, match=r"dog: holds no image \(\.jpg, "):
        opened(tmp_path)


def test_a_corrupt_image_is_named_when_it_is_read(tmp_path: Path) -> None:
    make_folder(tmp_path, CLASSES)
    (tmp_path / "dog" / "1.png").write_bytes(b"nonsense")
    dataset = opened(tmp_path, task="animals")
    assert dataset.augment == "small"
    with pytest.raises(DatasetError, match=r"dog/1\.png: .*; replace or remove this file"):
        dataset.train.image(dataset.train.names.index("dog/1.png"))


def test_a_folder_of_corrupt_images_opens_too(tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "1.png").write_bytes(b"nonsense")
    assert opened(tmp_path, task="animals").augment == "fine"


def test_a_folder_whose_name_is_no_task_name_asks_for_one(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "my pictures", CLASSES)
    with pytest.raises(UsageError, match="'my pictures' can't name a task; add --task my-pictures"):
        opened(root)
    assert opened(root, task="pictures").task == "pictures"


def test_the_current_folder_has_a_name_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(make_folder(tmp_path / "animals", CLASSES))
    assert open_dataset(".").task == "animals"


def test_nothing_is_written_into_the_folder(tmp_path: Path) -> None:
    make_folder(tmp_path / "data", CLASSES)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*")}
    (tmp_path / "data").chmod(0o555)
    try:
        dataset = opened(tmp_path / "data")
        for row in range(len(dataset.train)):
            dataset.train.image(row)
    finally:
        (tmp_path / "data").chmod(0o755)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*")} == before


def test_renaming_a_class_changes_the_order_of_the_labels(tmp_path: Path) -> None:
    make_folder(tmp_path, CLASSES)
    before = opened(tmp_path, task="animals").labels
    (tmp_path / "cat").rename(tmp_path / "zebra")
    assert opened(tmp_path, task="animals").labels == ("dog", "zebra") != before


@pytest.mark.parametrize("label", ["a\x1b[2Jb", "a\nb", "b\udcffrd"])
def test_a_label_that_cannot_be_printed_is_refused(tmp_path: Path, label: str) -> None:
    make_folder(tmp_path / "animals", {"cat": 1, label: 1})
    with pytest.raises(DatasetError, match=r"^[^\n\x1b]*has a name that can't be printed; rename it, it is the label$"):
        opened(tmp_path / "animals")


def test_tiff_files_are_counted_with_what_to_do_about_them(tmp_path: Path) -> None:
    make_folder(tmp_path, CLASSES)
    for name in ("cat/scan.tif", "dog/scan.TIFF"):
        (tmp_path / name).write_bytes(b"II*")
    (note,) = opened(tmp_path, task="animals").notes
    assert note.startswith("passed over TIFF files: 2 (first: cat/scan.tif); ")
    assert note.endswith("convert to PNG")


def test_photographs_of_telephones_are_counted_with_what_to_do_about_them(tmp_path: Path) -> None:
    make_folder(tmp_path, CLASSES)
    for name in ("cat/IMG_1.HEIC", "dog/IMG_2.heif", "dog/a.avif", "dog/readme.txt"):
        (tmp_path / name).write_bytes(b"ftyp")
    assert opened(tmp_path, task="animals").notes == (
        "passed over HEIC files: 2 (first: cat/IMG_1.HEIC); "
        "HEIC is not read, since servers don't take it; convert to JPEG",
        "passed over AVIF files: 1 (first: dog/a.avif); AVIF is not read, since servers don't take it; convert to JPEG",
        "passed over 1 file that is no image, or lies outside a class folder (first: dog/readme.txt)",
    )


def test_a_class_of_tiff_files_is_refused_with_the_reason(tmp_path: Path) -> None:
    make_folder(tmp_path, CLASSES)
    (tmp_path / "slide").mkdir()
    (tmp_path / "slide" / "0.tif").write_bytes(b"II*")
    with pytest.raises(DatasetError, match=r"slide: holds no image .*TIFF is not read, since servers don't take it"):
        opened(tmp_path, task="animals")


def test_every_suffix_that_is_read_is_one_that_servers_decode(tmp_path: Path) -> None:
    for suffix in IMAGE_SUFFIXES:
        save_image(tmp_path / "a" / f"image{suffix}")
        assert preprocess.decode((tmp_path / "a" / f"image{suffix}").read_bytes()).size == (40, 30)
