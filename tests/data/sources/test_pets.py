from __future__ import annotations

import urllib.error
from pathlib import Path

import numpy as np
import pytest
import torchvision.datasets.utils
from torchvision.datasets import OxfordIIITPet

from adaptertune_deploy.core.errors import DatasetError
from adaptertune_deploy.data.datasets import open_dataset
from tests.data.builders import make_pets

TRAINVAL = ["Abyssinian_1 1 1 1", "american_bulldog_10 2 2 1", "american_bulldog_7 2 2 1"]
TEST = ["american_bulldog_9 2 2 1", "Abyssinian_3 1 1 1"]


@pytest.mark.parametrize(("folder", "counts"), [("pets", (37, 259, 74)), ("pets-3breeds", (3, 294, 150))])
def test_the_real_pets_agree_with_torchvision(shared_data: Path, folder: str, counts: tuple[int, int, int]) -> None:
    dataset = open_dataset("pets", shared_data / folder)
    assert dataset.test is not None
    assert (len(dataset.labels), len(dataset.train), len(dataset.test)) == counts
    for split, theirs in ((dataset.train, "trainval"), (dataset.test, "test")):
        peer = OxfordIIITPet(str(shared_data / folder), split=theirs, download=False)
        assert [label.lower() for label in dataset.labels] == [label.lower() for label in peer.classes]
        for row in (0, len(split) // 2, len(split) - 1):
            image, target = peer[row]
            assert split.targets[row] == target
            assert np.array_equal(np.asarray(split.image(row)), np.asarray(image))
    assert (dataset.task, dataset.val, dataset.augment, dataset.non_commercial) == ("pets", None, "fine", False)
    assert not dataset.redistributable  # the photographs stay their owners'
    assert "CC BY-SA 4.0" in dataset.licence


def test_labels_are_readable_and_in_the_order_of_the_annotation_files(tmp_path: Path) -> None:
    dataset = open_dataset("pets", make_pets(tmp_path, TRAINVAL, TEST), task="dogs")
    assert dataset.labels == ("Abyssinian", "american bulldog")
    assert dataset.train.names == ("Abyssinian_1.jpg", "american_bulldog_10.jpg", "american_bulldog_7.jpg")
    assert dataset.train.targets.tolist() == [0, 1, 1]
    assert dataset.task == "dogs"


def test_the_default_folder_is_data_pets_in_the_current_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_pets(tmp_path / "data" / "pets", TRAINVAL, TEST)
    monkeypatch.chdir(tmp_path)
    assert len(open_dataset("pets").train) == 3


def test_an_absent_image_is_refused_or_skipped_and_counted(tmp_path: Path) -> None:
    root = make_pets(tmp_path, TRAINVAL, TEST)
    (root / "oxford-iiit-pet" / "images" / "Abyssinian_3.jpg").unlink()
    with pytest.raises(DatasetError, match=r"1 of 2 in test; first: Abyssinian_3\.jpg.*--allow-missing"):
        open_dataset("pets", root)
    dataset = open_dataset("pets", root, allow_missing=True)
    assert dataset.skipped == ("Abyssinian_3.jpg",)
    assert dataset.test is not None
    assert dataset.test.names == ("american_bulldog_9.jpg",)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("Abyssinian_5 1 1", r"trainval\.txt:4: found 'Abyssinian_5 1 1', expected: image class species breed"),
        ("Abyssinian_5 0 1 1", "expected: image class species breed"),
        ("Abyssinian_5 two 1 1", "expected: image class species breed"),
        ("Abyssinian_5 2 1 1", "class 2 is both 'american bulldog' and 'Abyssinian'"),
        ("Bengal_5 4 1 1", "class 3 has no image"),
    ],
)
def test_annotation_files_of_another_form_are_refused(tmp_path: Path, line: str, message: str) -> None:
    root = make_pets(tmp_path, [*TRAINVAL, line], TEST)
    with pytest.raises(DatasetError, match=message):
        open_dataset("pets", root)


def test_comments_and_empty_lines_are_passed_over(tmp_path: Path) -> None:
    root = make_pets(tmp_path, TRAINVAL, TEST)
    path = root / "oxford-iiit-pet" / "annotations" / "trainval.txt"
    path.write_text("#Image CLASS-ID SPECIES BREED ID\n\n" + path.read_text())
    assert len(open_dataset("pets", root).train) == 3


def test_without_a_network_one_line_tells_the_layout_and_the_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def no_network(*args: object, **kwargs: object) -> None:
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(torchvision.datasets.utils.urllib.request, "urlopen", no_network)
    root = tmp_path / "pets"
    with pytest.raises(DatasetError) as caught:
        open_dataset("pets", root)
    message = str(caught.value)
    for part in (
        "Name or service not known",
        f"{root}/oxford-iiit-pet/images/*.jpg",
        "trainval.txt",
        "https://",
        "--data-dir",
    ):
        assert part in message
    assert "\n" not in message
    assert "Traceback" not in message + "".join(capfd.readouterr())
    assert not root.exists()
