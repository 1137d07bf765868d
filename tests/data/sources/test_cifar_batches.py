"""data.sources.cifar_batches: what unpickling gives, without unpickling."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from adaptertune_deploy.core.errors import DatasetError
from adaptertune_deploy.data.sources.cifar_batches import images, read_batch
from tests.data.builders import make_pickle


def written(folder: Path, data: bytes) -> Path:
    path = folder / "data_batch_1"
    path.write_bytes(data)
    return path


def batch(count: int = 3) -> dict[str, object]:
    pixels = np.random.default_rng(0).integers(0, 256, (count, 3072), dtype=np.uint8)
    return {"data": pixels, "labels": [0, 255, 1000][:count], "batch_label": "training batch 1 of 5"}


@pytest.mark.filterwarnings("ignore:dtype")  # NumPy's, about the form of dtypes that NumPy wrote in 2009
def test_a_batch_of_python_2_reads_as_pickle_reads_it(tmp_path: Path) -> None:
    path = written(tmp_path, make_pickle(batch()))
    peer = pickle.loads(path.read_bytes(), encoding="latin1")
    ours = read_batch(path)
    assert (ours["labels"], ours["batch_label"]) == (peer["labels"], peer["batch_label"])
    assert np.array_equal(images(ours, path), peer["data"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))


def test_a_batch_that_python_3_wrote_in_protocol_2_reads_too(tmp_path: Path) -> None:
    wanted = batch()
    path = written(tmp_path, pickle.dumps(wanted, protocol=2))
    ours = read_batch(path)
    assert ours["labels"] == wanted["labels"]
    assert np.array_equal(images(ours, path).transpose(0, 3, 1, 2).reshape(3, -1), wanted["data"])


class Payload:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_nothing_in_a_batch_is_ever_run(tmp_path: Path) -> None:
    owned = tmp_path / "owned"
    for content in ({"data": Payload(owned)}, {**batch(), "labels": Payload(owned)}):
        data = pickle.dumps(content, protocol=2)
        path = written(tmp_path, data)
        ours = read_batch(path)
        if content["data"].__class__ is Payload:
            with pytest.raises(DatasetError, match="holds no images of CIFAR"):
                images(ours, path)
        assert not owned.exists()
        pickle.loads(data)  # what would have happened
        assert owned.is_dir()
        owned.rmdir()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no pickle",
        b"\x80\x02",
        make_pickle([1, 2]),
        make_pickle(batch())[:-40],
        b"\x80\x02}(U\x01au.",
        b"\x80\x02h\x05.",
        b"\x80\x02cos\nsystem\nU\x02ls\x85R.",
        b"\x80\x02)\x81.",
        b"\x80\x02K\x01Q.",
    ],
    ids=["empty", "text", "cut at once", "list", "cut", "odd pairs", "no memo", "call", "new", "persistent"],
)
def test_other_bytes_are_one_line(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(DatasetError, match=r"data_batch_1: is damaged or no batch of CIFAR") as caught:
        read_batch(written(tmp_path, data))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [
        np.zeros((2, 3071), dtype=np.uint8),
        np.zeros((2, 3072), dtype=np.float32),
        np.asfortranarray(np.arange(6144, dtype=np.uint8).reshape(2, 3072)),
        np.zeros(3072, dtype=np.uint8),
        [1, 2],
    ],
    ids=["small", "float", "fortran", "flat", "list"],
)
def test_an_array_of_another_form_is_refused(tmp_path: Path, data: object) -> None:
    path = written(tmp_path, pickle.dumps({"data": data}, protocol=2))
    with pytest.raises(DatasetError, match="holds no images of CIFAR"):
        images(read_batch(path), path)


def test_a_batch_without_data_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, make_pickle({"labels": [1]}))
    with pytest.raises(DatasetError, match="holds no images of CIFAR"):
        images(read_batch(path), path)


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="no such file"):
        read_batch(tmp_path / "data_batch_1")
