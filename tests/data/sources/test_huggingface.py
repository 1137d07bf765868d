"""data.sources.huggingface: what `datasets` gives, read from folders that it wrote; nothing is downloaded."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from datasets import ClassLabel, DatasetDict, Features, Value

from adaptertune_deploy.core.errors import DatasetError, UsageError
from adaptertune_deploy.data.datasets import check_dataset, open_dataset
from tests.builders import encode, make_image

IMAGES = [make_image(seed=seed) for seed in range(4)]
NAMES = ["robin", "wren"]


def table(
    targets: list[Any], kind: Any = None, image: str = "image", label: str = "label", **more: list[Any]
) -> datasets.Dataset:
    features = Features({image: datasets.Image(), label: kind or ClassLabel(names=NAMES)})
    features.update({name: ClassLabel(names=["low", "high"]) for name in more})
    columns = {image: [IMAGES[row % 4] for row in range(len(targets))], label: targets, **more}
    return datasets.Dataset.from_dict(columns, features=features)


def saved(folder: Path, whole: Any) -> str:
    whole.save_to_disk(str(folder / "birds"))
    return str(folder / "birds")


def test_a_saved_folder_is_read_with_its_splits(tmp_path: Path) -> None:
    parts = {"train": table([1, 0, 1]), "validation": table([0]), "test": table([1, 0]), "extra": table([0])}
    name = saved(tmp_path, DatasetDict(parts))
    dataset = open_dataset(name)
    for split, peer in (
        (dataset.train, parts["train"]),
        (dataset.val, parts["validation"]),
        (dataset.test, parts["test"]),
    ):
        assert split is not None
        assert split.targets.tolist() == peer["label"][:]
        for row in range(len(peer)):
            assert np.array_equal(np.asarray(split.image(row)), np.asarray(peer[row]["image"]))
    assert (dataset.labels, dataset.task, dataset.folder) == (("robin", "wren"), "birds", Path(name))
    assert dataset.notes == ("the split 'extra' was left out: it is none of train, val and test",)
    assert dataset.train.names == ("train/00000", "train/00001", "train/00002")


def test_an_image_is_handed_on_as_the_file_that_it_was(tmp_path: Path) -> None:
    data = encode(IMAGES[0], "JPEG")
    features = Features({"image": datasets.Image(), "label": ClassLabel(names=NAMES)})
    cells = [{"bytes": data, "path": None}, {"bytes": encode(IMAGES[1]), "path": "a.png"}]
    dataset = open_dataset(
        saved(tmp_path, datasets.Dataset.from_dict({"image": cells, "label": [0, 1]}, features=features))
    )
    assert dataset.train.encoded(0) == (data, ".jpg")
    assert (dataset.val, dataset.test) == (None, None)


def test_an_image_that_is_a_file_elsewhere_is_read_from_there(tmp_path: Path) -> None:
    for row in range(2):
        (tmp_path / f"{row}.png").write_bytes(encode(IMAGES[row]))
    features = Features({"image": datasets.Image(), "label": ClassLabel(names=NAMES)})
    columns = {"image": [str(tmp_path / f"{row}.png") for row in range(2)], "label": [0, 1]}
    dataset = open_dataset(saved(tmp_path, datasets.Dataset.from_dict(columns, features=features)))
    assert np.array_equal(np.asarray(dataset.train.image(1)), np.asarray(IMAGES[1]))


@pytest.mark.parametrize(
    ("kind", "values", "labels", "targets"),
    [
        (Value("string"), ["wren", "robin", "wren"], ("robin", "wren"), [1, 0, 1]),
        (Value("int64"), [10, 9, 10], ("9", "10"), [1, 0, 1]),
    ],
)
def test_labels_without_names_are_their_values(
    tmp_path: Path, kind: Value, values: list[Any], labels: tuple[str, ...], targets: list[int]
) -> None:
    dataset = open_dataset(saved(tmp_path, table(values, kind, image="img", label="labels")))
    assert (dataset.labels, dataset.train.targets.tolist()) == (labels, targets)


def test_a_test_split_without_labels_is_left_out_and_said(tmp_path: Path) -> None:
    dataset = open_dataset(saved(tmp_path, DatasetDict({"train": table([0, 1]), "test": table([-1, -1])})))
    assert dataset.test is None
    assert dataset.notes == ("the split 'test' was left out: its images have no labels",)


@pytest.mark.parametrize(
    ("whole", "message"),
    [
        (DatasetDict({"train": table([0, 1]), "test": table([0, -1])}), "1 of 2 images of test have no label"),
        (DatasetDict({"train": table([-1, -1]), "test": table([0, 1])}), "its training images have no labels"),
        (DatasetDict({"a": table([0, 1]), "b": table([0])}), "has the splits a, b, expected one called train"),
        (datasets.Dataset.from_dict({"label": [0]}), r"has the columns label \(Value\), expected one of images"),
        (
            table([0, 1], label="kind", size=[0, 1]),
            r"kind \(ClassLabel\), size \(ClassLabel\), expected labels",
        ),
        (table([0.5, 1.5], Value("float32")), "'label' holds neither classes nor texts nor whole numbers"),
        (
            DatasetDict({"train": table(["a", "b"], Value("string")), "test": table(["c"], Value("string"))}),
            "the label 'c' is in test and not in train",
        ),
    ],
)
def test_what_lacks_labels_is_refused(tmp_path: Path, whole: Any, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        open_dataset(saved(tmp_path, whole))


def test_a_damaged_folder_is_one_line(tmp_path: Path) -> None:
    name = saved(tmp_path, table([0, 1]))
    for path in Path(name).glob("*.arrow"):
        path.write_bytes(b"no arrow")
    with pytest.raises(DatasetError, match=r"can't be loaded \(.*save it again") as caught:
        open_dataset(name)
    assert "\n" not in str(caught.value)


def test_a_name_of_the_hub_is_loaded_with_its_config_and_column(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str | None]] = []

    def load(repository: str, config: str | None) -> DatasetDict:
        asked.append((repository, config))
        parts = {"train": table([0, 1, 1], size=[1, 0, 0]), "test": table([1], size=[0])}
        for part in parts.values():
            part.info.license = "cc-by-nc-4.0"
        return DatasetDict(parts)

    monkeypatch.setattr(datasets, "load_dataset", load)
    name = "hf:someone/My.Birds/small:size"
    dataset = open_dataset(name)
    assert asked == [("someone/My.Birds", "small")]
    assert (dataset.labels, dataset.train.targets.tolist()) == (("low", "high"), [1, 0, 0])
    assert (dataset.name, dataset.task, dataset.hub_id) == (
        "hf:someone/My.Birds/small:size",
        "my-birds",
        "someone/My.Birds",
    )
    assert (dataset.licence, dataset.non_commercial) == ("cc-by-nc-4.0, as its publisher states", True)
    assert dataset.folder is None
    assert open_dataset("hf:someone/birds").labels == ("robin", "wren")
    with pytest.raises(DatasetError, match="has no column 'colour'; it has image"):
        open_dataset("hf:someone/birds:colour")


def test_the_hub_out_of_reach_is_one_line() -> None:
    with pytest.raises(DatasetError, match=r"hf:someone/birds: can't be loaded \(.*datasets/someone/birds") as caught:
        open_dataset("hf:someone/birds")
    assert "\n" not in str(caught.value)


def test_without_the_library_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = saved(tmp_path, table([0, 1]))
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda module: None if module == "datasets" else found(module))
    for dataset in ("hf:someone/birds", name):
        with pytest.raises(DatasetError, match=r"needs datasets; install it with: .*adaptertune-deploy\[hf\]"):
            open_dataset(dataset)


def test_a_saved_folder_is_no_folder_of_classes(tmp_path: Path) -> None:
    name = saved(tmp_path, DatasetDict({"train": table([0, 1]), "test": table([0])}))
    assert check_dataset(name) == ("birds", Path(name))
    with pytest.raises(UsageError, match="is a folder already; leave the option out"):
        check_dataset(name, tmp_path)
