from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from adaptertune_deploy.core.errors import DatasetError
from adaptertune_deploy.data.sources.lists.lines import Line
from adaptertune_deploy.data.sources.lists.parquet import read_parquet
from tests.builders import encode, make_image

IMAGES = [make_image(seed=seed) for seed in range(3)]
FILES = [encode(image) for image in IMAGES]


def written(folder: Path, **columns: list[Any]) -> Path:
    parquet.write_table(pyarrow.table(columns), folder / "labels.parquet")
    return folder / "labels.parquet"


def test_paths_are_read_as_from_a_text(tmp_path: Path) -> None:
    path = written(tmp_path, path=["a.jpg", "./b//c.jpg"], label=["cat", "dog"], split=["train", "test"], other=[1, 2])
    lines, reader = read_parquet(path)
    assert lines == [Line(1, "a.jpg", "cat", "train"), Line(2, "b/c.jpg", "dog", "test")]
    assert reader is None


def test_numbers_are_labels(tmp_path: Path) -> None:
    lines, _ = read_parquet(written(tmp_path, path=["a.jpg", "b.jpg"], target=[10, 2]))
    assert [line.label for line in lines] == ["10", "2"]


@pytest.mark.parametrize("struct", [True, False])
def test_images_inside_are_read_from_memory(tmp_path: Path, struct: bool) -> None:
    cells: list[Any] = [{"bytes": data, "path": None} for data in FILES] if struct else FILES
    lines, reader = read_parquet(written(tmp_path, image=cells, label=["a", "b", "a"]))
    assert [line.image for line in lines] == ["labels/000001", "labels/000002", "labels/000003"]
    assert reader is not None
    for line, image, data in zip(lines, IMAGES, FILES, strict=True):
        assert np.array_equal(np.asarray(reader.image(line.image)), np.asarray(image))
        assert reader.encoded(line.image) == (data, ".png")


def test_what_hugging_face_writes_carries_the_names_of_its_classes(tmp_path: Path) -> None:
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["wren", "robin"])})
    table = datasets.Dataset.from_dict({"image": IMAGES, "label": [1, 0, 1]}, features=features)
    table.to_parquet(str(tmp_path / "train.parquet"))
    lines, reader = read_parquet(tmp_path / "train.parquet")
    assert [line.label for line in lines] == ["robin", "wren", "robin"]
    assert reader is not None
    assert np.array_equal(np.asarray(reader.image(lines[2].image)), np.asarray(IMAGES[2]))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"a": ["x"], "label": ["cat"]}, ":1: found the columns 'a', 'label'"),
        ({"path": ["x", None], "label": ["cat", "cat"]}, ":2: has no path"),
        ({"path": ["x", "y"], "label": ["cat", None]}, ":2: has no label"),
        ({"path": ["x"], "label": [0.5]}, ":1: the label 0.5 is neither a text nor a whole number"),
        ({"path": ["x"], "label": [True]}, ":1: the label True is neither"),
        ({"path": ["x"], "label": ["cat"], "split": [None]}, ":1: the split is '', expected"),
        ({"image": [FILES[0], b""], "label": ["a", "b"]}, ":2: holds no image, where other rows do"),
        ({"image": [FILES[0], None], "label": ["a", "b"]}, ":2: holds no image, where other rows do"),
    ],
)
def test_a_row_that_is_not_whole_is_named(tmp_path: Path, columns: dict[str, list[Any]], message: str) -> None:
    with pytest.raises(DatasetError, match=rf"labels\.parquet{message}"):
        read_parquet(written(tmp_path, **columns))


def test_a_number_beyond_the_names_is_refused(tmp_path: Path) -> None:
    facts = {b"huggingface": b'{"info": {"features": {"label": {"names": ["a", "b"], "_type": "ClassLabel"}}}}'}
    table = pyarrow.table({"path": ["x"], "label": [2]}).replace_schema_metadata(facts)
    parquet.write_table(table, tmp_path / "labels.parquet")
    with pytest.raises(DatasetError, match=":1: the label is 2, expected 0 to 1"):
        read_parquet(tmp_path / "labels.parquet")


@pytest.mark.parametrize("content", [b"", b"path,label\n", b"PAR1" + bytes(40) + b"PAR1"])
def test_another_file_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "labels.parquet").write_bytes(content)
    with pytest.raises(DatasetError, match=r"labels\.parquet: is no readable Parquet file") as caught:
        read_parquet(tmp_path / "labels.parquet")
    assert "\n" not in str(caught.value)


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, path=["a.jpg"], label=["cat"])
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pyarrow" else found(name))
    with pytest.raises(DatasetError, match=r"needs pyarrow; install it with: .*adaptertune-deploy\[parquet\]"):
        read_parquet(path)
