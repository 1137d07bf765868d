"""serve.embed: features by task, and files that numpy reads without pickle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from adaptertune_deploy.core.errors import EngineError, ImageError, UsageError
from adaptertune_deploy.core.images import preprocess
from adaptertune_deploy.serve.offline.embed import check_file, embed, write
from tests.builders import encode, make_image, make_preprocess_spec
from tests.serve.fakes import WIDTH, FakeEngine, make_adapters, make_merged, make_shared, reference

FEATURES = {name: np.arange(6, dtype=np.float32).reshape(2, 3) + place for place, name in enumerate(("file", "pets"))}


@pytest.fixture(scope="module")
def images() -> list[bytes]:
    return [encode(make_image(seed=seed)) for seed in range(5)]


@pytest.mark.parametrize("max_batch", [1, 4, 100])
def test_every_task_has_the_features_that_its_head_makes_its_logits_of(images: list[bytes], max_batch: int) -> None:
    adapters = make_adapters()
    found = embed(make_shared(adapters=adapters), images, ["digits", "pets"], max_batch=max_batch)
    assert list(found) == ["digits", "pets"]
    for name, features in found.items():
        assert (features.dtype, features.shape) == (np.float32, (5, WIDTH))
        adapter = next(item for item in adapters if item.task.name == name)
        for data, row in zip(images, features, strict=True):
            wanted = reference(preprocess.preprocess(data, make_preprocess_spec()), adapter)
            logits = adapter.tensors["head.weight"] @ row + adapter.tensors["head.bias"]
            np.testing.assert_allclose(logits, wanted, rtol=1e-4, atol=1e-5)


def test_what_is_wrong_is_one_line(images: list[bytes]) -> None:
    with pytest.raises(UsageError, match="take --form shared"):
        embed(make_merged()[0], images)
    with pytest.raises(UsageError, match="no task 'pet', only pets, flowers, digits"):
        embed(make_shared(), images, ["pet"])
    with pytest.raises(ImageError, match=r"^b\.png: the data is no"):
        embed(make_shared(), [images[0], b"text"], names=["a.png", "b.png"])
    with pytest.raises(EngineError, match="features that are NaN or infinite"):
        embed(make_shared(FakeEngine(poison=frozenset({1}))), images)


def test_files_come_back_by_numpy_whatever_the_tasks_are_called(tmp_path: Path) -> None:
    write(tmp_path / "f.npz", FEATURES, ["a.png", "ä.png"])
    with np.load(tmp_path / "f.npz", allow_pickle=False) as held:
        assert set(held.files) == {"files", *FEATURES}
        assert held["files"].tolist() == ["a.png", "ä.png"]
        for name, features in FEATURES.items():
            np.testing.assert_array_equal(held[name], features, strict=True)
    write(tmp_path / "f.npy", {"pets": FEATURES["pets"]}, ["a.png", "b.png"])
    np.testing.assert_array_equal(np.load(tmp_path / "f.npy", allow_pickle=False), FEATURES["pets"], strict=True)


@pytest.mark.parametrize(
    ("name", "tasks", "message"),
    [
        ("f.csv", ["pets"], r"f\.csv: expected a name that ends with \.npy or \.npz"),
        ("f.npy", ["pets", "cars"], r"f\.npy: \.npy holds the features of one task, and 2 were asked; write \.npz"),
        ("f.npz", ["pets", "files"], "the array 'files' names the images, and a task has that name"),
        ("x/y/../../full", ["pets"], "expected a name that ends"),
    ],
)
def test_a_file_that_can_not_hold_them_is_refused(tmp_path: Path, name: str, tasks: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_file(tmp_path / name, tasks)


def test_files_that_can_hold_them_are_not_made_yet(tmp_path: Path) -> None:
    check_file(tmp_path / "new" / "f.npz", ["pets", "cars"])
    check_file(tmp_path / "f.npy", ["files"])
    assert not list(tmp_path.iterdir())
