from __future__ import annotations

import io
import json
import struct
from pathlib import Path

import pytest
from PIL import Image

import adaptertune_deploy
from adaptertune_deploy.core.bundle.folder import read_manifest
from adaptertune_deploy.core.errors import FormatError
from adaptertune_deploy.engines.options import ON_CPU, EngineOptions
from adaptertune_deploy.export.targets.triton import shared
from adaptertune_deploy.inspection.bundle import inspect
from tests.export.targets.triton.repository import copy_bundle, parse


@pytest.fixture
def model(tmp_path: Path) -> Path:
    bundle = copy_bundle(tmp_path)
    shared.write(bundle, read_manifest(bundle), tmp_path / "shared", ON_CPU)
    return tmp_path / "shared" / "adaptertune"


def test_the_bundle_inside_is_whole_and_holds_shared_graphs_only(model: Path) -> None:
    found = inspect(model / "1" / "bundle")
    assert found.faults == ()
    assert found.facts["unnamed_files"] == []
    assert [graph["form"] for graph in found.facts["graphs"]] == ["shared"]
    assert [record["task"]["name"] for record in found.facts["tasks"]] == ["birds", "cars"]


def test_the_configuration(model: Path) -> None:
    said = parse((model / "config.pbtxt").read_text())
    assert (said["name"], said["backend"], said["max_batch_size"]) == (["adaptertune"], ["python"], ["32"])
    assert [entry["name"] for entry in said["input"]] == [["image"], ["task"]]
    assert [(*entry["name"], *entry["dims"]) for entry in said["output"]] == [
        ("logits", "-1"),
        ("label", "1"),
        ("probability", "1"),
    ]
    assert said["instance_group"] == [{"kind": ["KIND_CPU"], "count": ["1"]}]
    parameters = {entry["key"][0]: entry["value"][0]["string_value"][0] for entry in said["parameters"]}
    assert parameters == {"engine": "onnxruntime", "precision": "fp32", "threads": "0"}
    assert len(said["dynamic_batching"]) == 1
    assert [entry["batch_size"] for entry in said["model_warmup"]] == [["1"], ["32"]]


def test_the_warm_up_is_a_request_that_can_be_answered(model: Path) -> None:
    image, task = ((model / "warmup" / name).read_bytes() for name in ("image", "task"))
    for data in (image, task):
        assert struct.unpack("<I", data[:4]) == (len(data) - 4,)
    assert task[4:] == b"birds"
    assert Image.open(io.BytesIO(image[4:])).size == (32, 32)


def test_labels_and_code_lie_beside(model: Path) -> None:
    assert json.loads((model / "labels.json").read_text())["birds"] == ["birds 0", "birds 1", "birds 2"]
    code = Path(adaptertune_deploy.__file__).parent / "serve" / "triton_model.py"
    assert (model / "1" / "model.py").read_bytes() == code.read_bytes()


def test_a_damaged_bundle_is_not_passed_on(tmp_path: Path) -> None:
    bundle = copy_bundle(tmp_path)
    next((bundle / "adapters").glob("birds-*")).write_bytes(b"x")
    with pytest.raises(FormatError, match="the file was changed or damaged"):
        shared.write(bundle, read_manifest(bundle), tmp_path / "shared", ON_CPU)


def test_the_engine_that_was_asked_for_is_the_one_that_runs(tmp_path: Path) -> None:
    bundle = copy_bundle(tmp_path)
    options = EngineOptions("openvino", "cuda:1", threads=3, settings={"hint": "latency"})
    shared.write(bundle, read_manifest(bundle), tmp_path / "shared", options)
    said = parse((tmp_path / "shared" / "adaptertune" / "config.pbtxt").read_text())
    assert said["instance_group"] == [{"kind": ["KIND_GPU"], "count": ["1"], "gpus": ["1"]}]
    parameters = {entry["key"][0]: entry["value"][0]["string_value"][0] for entry in said["parameters"]}
    assert parameters == {"engine": "openvino", "precision": "fp32", "threads": "3", "setting.hint": "latency"}
