"""export.precision.int8: the backbone's products in int8, in the form that ONNX Runtime fuses."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.export import onnx_file
from adaptertune_deploy.export.onnx_file import OnnxFile, array
from adaptertune_deploy.export.precision import int8
from adaptertune_deploy.export.precision.ranges import NONE
from tests.export.conftest import SLOTS
from tests.export.precision.graphs import FLOAT, kinds

LINEAR = 12  # layers of three blocks


def test_the_backbones_products_and_nothing_else(file: OnnxFile) -> None:
    made = int8.make(file, NONE)
    before = Counter(node.op_type for node in file.model.graph.node)
    after = Counter(node.op_type for node in made.model.graph.node)
    assert after["MatMulInteger"] == after["DynamicQuantizeLinear"] == LINEAR
    assert before["MatMul"] - after["MatMul"] == LINEAR
    assert (before["Conv"], before["LayerNormalization"]) == (after["Conv"], after["LayerNormalization"])
    types = kinds(made)
    assert {types[name] for name in (*bank.bank_names(SLOTS), bank.IMAGES, bank.FEATURES)} == {FLOAT}
    weights = [array(tensor) for name, tensor in made.tensors.items() if name.endswith(".weight.int8")]
    assert len(weights) == LINEAR
    assert not [name for name in made.tensors if name.endswith(("qkv.weight", "fc1.weight", "fc2.weight"))]


def test_a_quarter_of_the_bytes(file: OnnxFile) -> None:
    def size(made: OnnxFile) -> int:
        return sum(array(tensor).nbytes for name, tensor in made.tensors.items() if "mlp" in name or "attn" in name)

    assert size(int8.make(file, NONE)) < 0.3 * size(file)


def test_onnx_runtime_runs_each_product_as_one_operator(file: OnnxFile, tmp_path: Path) -> None:
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 4
    data = onnx_file.write(int8.make(file, NONE), "the graph")
    ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    found = Counter(node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node)
    assert found["DynamicQuantizeMatMul"] + found["MatMulIntegerToFloat"] == LINEAR
    assert not found["MatMulInteger"]


def test_what_several_products_read_is_measured_once(file: OnnxFile) -> None:
    node = next(node for node in file.model.graph.node if node.output[0] == "blocks.1.mlp.fc1.MatMul")
    twice = onnx.NodeProto()
    twice.CopyFrom(node)
    twice.output[0], twice.name = "again", "again"
    file.model.graph.node.append(twice)
    made = int8.make(file, NONE)
    found = Counter(node.op_type for node in made.model.graph.node)
    assert (found["MatMulInteger"], found["DynamicQuantizeLinear"]) == (LINEAR + 1, LINEAR)
    assert np.abs(array(made.tensors["blocks.1.mlp.fc1.weight.int8"]).astype(int)).max() == 127
