"""train.request.preflight: what can be refused without torch is, and what a person should know is said first."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from adaptertune_deploy.core.errors import AtdError, BackboneError, DatasetError, UsageError
from adaptertune_deploy.model.names import EMBEDDED_BACKBONE
from adaptertune_deploy.train.request.preflight import check_train
from adaptertune_deploy.train.request.recipe import Recipe
from adaptertune_deploy.train.request.request import TrainRequest
from tests.builders import make_backbone_spec, make_task, write_adapter, write_bundle
from tests.data.builders import make_folder


@pytest.fixture
def request_(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainRequest:
    monkeypatch.chdir(tmp_path)
    make_folder(tmp_path / "my pets", {"cat": 1, "dog": 1})
    return TrainRequest("pets", None, Path("adapters"))


def test_a_usual_request_needs_no_word_and_leaves_nothing(request_: TrainRequest, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    assert check_train(request_) == ()
    assert check_train(dataclasses.replace(request_, dataset="my pets", task="my-pets")) == ()
    assert sorted(tmp_path.rglob("*")) == before


def test_what_will_happen_is_said_in_order(request_: TrainRequest) -> None:
    toy = make_backbone_spec(name=EMBEDDED_BACKBONE)
    for task in ("pets", "digits"):
        write_adapter(Path("adapters") / task, make_task(task), toy)
    Path("adapters/.pets.new.abcd1234").mkdir()
    removed, replaced, idle, apart = check_train(dataclasses.replace(request_, recipe=Recipe(rank=0, views=3)))
    assert removed.startswith("removed adapters/.pets.new.abcd1234")
    assert replaced.startswith("adapters/pets will be replaced (rank 2, ")
    assert idle == "the head alone is trained (rank 0): --views 3 does nothing"
    assert apart.startswith(f"adapters/digits is on {EMBEDDED_BACKBONE}, and one bundle holds one backbone")


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        (UsageError, {"dataset": "pest"}, r"--dataset pest: .* Did you mean 'pets'\?"),
        (UsageError, {"dataset": ""}, "--dataset : is neither a dataset nor a folder"),
        (UsageError, {"dataset": "my pets"}, "'my pets' can't name a task; add --task my-pets"),
        (UsageError, {"task": "two words"}, "--task: .*; use --task two-words"),
        (UsageError, {"dataset": "digits", "data_dir": Path("x")}, "--data-dir: digits comes with scikit-learn"),
        (UsageError, {"dataset": "shapes", "data_dir": Path("x")}, "--data-dir: shapes is generated"),
        (UsageError, {"dataset": "my pets", "data_dir": Path("x"), "task": "t"}, "--data-dir: my pets is a folder"),
        (UsageError, {"dataset": "bundle"}, "--dataset bundle: this is a bundle"),
        (UsageError, {"dataset": "trained"}, r"--dataset trained: this is a folder of trained adapters \(birds\)"),
        (UsageError, {"dataset": "trained/birds"}, "--dataset trained/birds: this is the folder of a trained adapter"),
        (DatasetError, {"dataset": "my pets/cat", "task": "t"}, "my pets/cat: holds 0 folders of images"),
        (BackboneError, {"weights": Path("none.safetensors")}, "--weights none.safetensors: no such weights file"),
        (UsageError, {"out": Path("file")}, "--out file: is a file"),
        (UsageError, {"out": Path(), "task": "my pets"[:2]}, "my exists and is no adapter folder"),
    ],
)
def test_what_will_not_do_is_refused_in_one_line(
    request_: TrainRequest, kind: type[AtdError], change: dict[str, Any], message: str
) -> None:
    write_bundle(Path("bundle"))
    write_adapter(Path("trained/birds"), make_task("birds"))
    Path("file").write_bytes(b"")
    Path("my").mkdir()
    with pytest.raises(kind, match=rf"^[^\n]*{message}[^\n]*$"):
        check_train(dataclasses.replace(request_, **change))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_place_is_found(request_: TrainRequest, tmp_path: Path) -> None:
    (tmp_path / "ro").mkdir(mode=0o555)
    with pytest.raises(UsageError, match="--out ro/adapters: can't be written"):
        check_train(dataclasses.replace(request_, out=Path("ro/adapters")))


def test_nothing_heavy_is_loaded() -> None:
    script = "import sys, adaptertune_deploy.train.request.preflight; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "timm", "torchvision", "sklearn", "scipy", "matplotlib", "onnx"} & set(loaded)
