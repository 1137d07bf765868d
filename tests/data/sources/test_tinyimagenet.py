from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets import ImageFolder

from adaptertune_deploy.core.errors import DatasetError
from adaptertune_deploy.data.datasets import open_dataset
from tests.data.builders import make_tinyimagenet


def listing(root: Path) -> dict[str, int]:
    return {path.relative_to(root).as_posix(): path.stat().st_mtime_ns for path in root.rglob("*")}


def test_the_real_subset_agrees_with_torchvision_and_with_its_annotations(shared_data: Path) -> None:
    root = shared_data / "tiny-imagenet"
    dataset = open_dataset("tinyimagenet", root)
    assert dataset.test is not None
    assert (len(dataset.labels), len(dataset.train), len(dataset.test)) == (50, 3000, 1000)
    peer = ImageFolder(str(root / "tiny-imagenet-200" / "train"))
    assert dataset.train.targets.tolist() == peer.targets
    for row in (0, 1500, 2999):
        assert np.array_equal(np.asarray(dataset.train.image(row)), np.asarray(peer[row][0]))
    answers = (root / "tiny-imagenet-200" / "val" / "val_annotations.txt").read_text().split()
    assert [peer.classes[target] for target in dataset.test.targets] == answers[1::6]
    assert [Path(name).name for name in dataset.test.names] == answers[::6]


def test_the_official_validation_split_is_the_test_and_nothing_is_moved(tmp_path: Path) -> None:
    root = make_tinyimagenet(tmp_path)
    before = listing(root)
    dataset = open_dataset("tinyimagenet", root)
    assert dataset.test is not None
    assert dataset.test.names == ("val/images/val_0.JPEG", "val/images/val_1.JPEG")
    assert dataset.test.targets.tolist() == [2, 0]
    assert dataset.val is None
    assert dataset.train.image(0).size == (64, 64)
    assert listing(root) == before
    assert (dataset.augment, dataset.non_commercial) == ("small", True)


def test_a_read_only_folder_will_do(tmp_path: Path) -> None:
    root = make_tinyimagenet(tmp_path / "data")
    folders = [root, *(path for path in root.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    try:
        assert len(open_dataset("tinyimagenet", root).train) == 6
    finally:
        for folder in folders:
            folder.chmod(0o755)


def test_labels_are_first_names_and_all_names_where_two_share_the_first(tmp_path: Path) -> None:
    dataset = open_dataset("tinyimagenet", make_tinyimagenet(tmp_path))
    assert dataset.labels == ("crane, bird", "crane, machine", "goose")


def test_labels_of_classes_with_the_same_names_are_their_ids(tmp_path: Path) -> None:
    root = make_tinyimagenet(tmp_path)
    (root / "tiny-imagenet-200" / "words.txt").write_text("n01000001\tcrane\nn02000001\tcrane\n")
    assert open_dataset("tinyimagenet", root).labels == ("n01000001", "n02000001", "n03000001")


def test_the_rearranged_folder_of_other_programs_is_refused(tmp_path: Path) -> None:
    root = make_tinyimagenet(tmp_path)
    images = root / "tiny-imagenet-200" / "train" / "n01000001" / "images"
    for path in images.iterdir():
        path.rename(images.parent / path.name)
    with pytest.raises(DatasetError, match=r"n01000001/images: holds no \*\.JPEG"):
        open_dataset("tinyimagenet", root)


def test_class_folders_and_list_must_agree(tmp_path: Path) -> None:
    root = make_tinyimagenet(tmp_path)
    (root / "tiny-imagenet-200" / "train" / "n09999999").mkdir()
    with pytest.raises(DatasetError, match=r"'n09999999' is only in train/ \(1 such in all\)"):
        open_dataset("tinyimagenet", root)


def test_an_annotation_of_another_class_is_refused(tmp_path: Path) -> None:
    root = make_tinyimagenet(tmp_path)
    (root / "tiny-imagenet-200" / "val" / "val_annotations.txt").write_text("val_0.JPEG\tn77\t0\t0\t1\t1\n")
    with pytest.raises(DatasetError, match=r"val_annotations\.txt:1: found "):
        open_dataset("tinyimagenet", root)


def test_the_inner_folder_is_pointed_out(tmp_path: Path) -> None:
    root = make_tinyimagenet(tmp_path)
    with pytest.raises(DatasetError, match=f"use --data-dir {root}$"):
        open_dataset("tinyimagenet", root / "tiny-imagenet-200")
