from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet

from adaptertune_deploy.core.errors import DatasetError, UsageError
from adaptertune_deploy.data.datasets import check_dataset, open_dataset
from tests.builders import encode, make_image
from tests.data.builders import save_image

ROWS = ["cat/0.png,cat,train", "cat/1.png,cat,test", "../more/2.png,dog,train", "dog/3.png,dog,val"]


def make_list(root: Path, rows: list[str] | None = None) -> Path:
    """Write images, and a list of them in a folder beside one that it names too."""
    here = root / "birds"
    for seed, row in enumerate(ROWS):
        save_image(here / row.split(",")[0], seed=seed)
    (here / "labels.csv").write_text("\n".join(["path,label,split", *(ROWS if rows is None else rows)]) + "\n")
    return here / "labels.csv"


def test_a_list_divides_images_as_it_says(tmp_path: Path) -> None:
    file = make_list(tmp_path)
    dataset = open_dataset(str(file))
    assert dataset.val is not None
    assert dataset.test is not None
    assert (dataset.labels, dataset.task, dataset.folder) == (("cat", "dog"), "labels", file)
    assert dataset.train.names == ("cat/0.png", "../more/2.png")
    assert (dataset.train.targets.tolist(), dataset.val.targets.tolist(), dataset.test.targets.tolist()) == (
        [0, 1],
        [1],
        [0],
    )
    with Image.open(tmp_path / "more" / "2.png") as image:
        assert np.array_equal(np.asarray(dataset.train.image(1)), np.asarray(image))
    assert dataset.test.encoded(0) == ((tmp_path / "birds" / "cat" / "1.png").read_bytes(), ".png")
    assert (dataset.augment, dataset.non_commercial, dataset.redistributable) == ("small", None, False)
    assert dataset.licence.startswith("unknown: this is your own list")


def test_without_splits_all_images_train(tmp_path: Path) -> None:
    file = make_list(tmp_path)
    file.write_text("image,class\ncat/0.png,cat\ndog/3.png,dog\n")
    dataset = open_dataset(str(file), task="animals")
    assert (dataset.task, len(dataset.train), dataset.val, dataset.test) == ("animals", 2, None, None)


def test_an_absent_image_is_refused_by_line_or_skipped_by_name(tmp_path: Path) -> None:
    file = make_list(tmp_path, [*ROWS, "cat/9.png,cat,train", "none/8.png,dog,test"])
    with pytest.raises(DatasetError, match=r"labels\.csv:6: cat/9\.png is absent \(2 of 6 are\).*--allow-missing"):
        open_dataset(str(file))
    dataset = open_dataset(str(file), allow_missing=True)
    assert dataset.skipped == ("cat/9.png", "none/8.png")
    assert dataset.notes[0].startswith("2 listed images are absent and were left out")


def test_a_list_of_images_that_are_nowhere_is_refused(tmp_path: Path) -> None:
    file = make_list(tmp_path, ["x/0.png,cat,train", "x/1.png,dog,train"])
    with pytest.raises(DatasetError, match="none of its training images is there"):
        open_dataset(str(file), allow_missing=True)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [*ROWS, "cat/0.png,cat,test"],
            r"labels\.csv:6: cat/0\.png is on line 2 already, here in test and there",
        ),
        ([*ROWS, "./cat/0.png,dog,train"], r"labels\.csv:6: cat/0\.png is 'dog' here and 'cat' on line 2"),
        ([*ROWS, "cat/1.png"], r"labels\.csv:6: has 1 fields"),
        ([*ROWS, "dog/4.png,fox,test"], r"labels\.csv:6: the label 'fox' is only in test"),
    ],
)
def test_contradictions_are_found_before_anything_is_opened(tmp_path: Path, rows: list[str], message: str) -> None:
    file = make_list(tmp_path, rows)
    for read in (check_dataset, open_dataset):
        with pytest.raises(DatasetError, match=message):
            read(str(file))


def test_one_class_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="has 1 classes, expected at least 2"):
        open_dataset(str(make_list(tmp_path, ROWS[:2])))


def test_a_parquet_that_holds_its_images_needs_no_other_file(tmp_path: Path) -> None:
    images = [make_image(80, 70, seed) for seed in range(4)]
    table = {"img": [1] * 4, "image": [encode(image) for image in images], "label": ["b", "a", "b", "a"]}
    table["split"] = ["train", "train", "test", "test"]
    parquet.write_table(pyarrow.table(table), tmp_path / "birds.parquet")
    dataset = open_dataset(str(tmp_path / "birds.parquet"))
    assert dataset.test is not None
    assert (dataset.task, dataset.labels, dataset.augment) == ("birds", ("a", "b"), "fine")
    assert dataset.train.targets.tolist() == [1, 0]
    assert np.array_equal(np.asarray(dataset.test.image(1)), np.asarray(images[3]))


def test_a_file_name_that_can_not_name_a_task_asks_for_one(tmp_path: Path) -> None:
    file = make_list(tmp_path).rename(tmp_path / "birds" / "my birds.csv")
    with pytest.raises(UsageError, match="the file's name 'my birds' can't name a task; add --task my-birds"):
        check_dataset(str(file))
    assert check_dataset(str(file), task="birds") == ("birds", file)


def test_a_list_reads_no_data_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a list already; leave the option out"):
        check_dataset(str(make_list(tmp_path)), tmp_path)
