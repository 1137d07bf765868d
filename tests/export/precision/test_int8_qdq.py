"""export.precision.int8_qdq: symmetric, each weight in int8, channels evened out without changing a product."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.export.onnx_file import OnnxFile, array
from adaptertune_deploy.export.precision import int8_qdq
from adaptertune_deploy.export.precision.ranges import Ranges
from tests.export.precision.graphs import nodes_by_output

LINEAR = 12


@pytest.fixture
def made(file: OnnxFile, ranges: Ranges) -> OnnxFile:
    return int8_qdq.make(file, ranges)


def test_products_take_int8_on_both_sides_and_nothing_else_does(file: OnnxFile, made: OnnxFile) -> None:
    found, before = Counter(n.op_type for n in made.model.graph.node), Counter(n.op_type for n in file.model.graph.node)
    assert (found["QuantizeLinear"], found["DequantizeLinear"]) == (LINEAR, 2 * LINEAR)
    assert found["MatMul"] == before["MatMul"]
    makers = nodes_by_output(made)
    products = [n for n in made.model.graph.node if n.op_type == "MatMul" and n.input[1].endswith(".dequantised")]
    assert len(products) == LINEAR
    for node in products:
        tokens, weight = (makers[name] for name in node.input)
        assert (tokens.op_type, weight.op_type) == ("DequantizeLinear", "DequantizeLinear")
        assert array(made.tensors[weight.input[0]]).dtype == np.int8
        (axis,) = weight.attribute
        assert axis.i == 1


def test_every_zero_point_is_zero(made: OnnxFile) -> None:
    """TensorRT takes no other."""
    quantising = [n for n in made.model.graph.node if n.op_type in ("QuantizeLinear", "DequantizeLinear")]
    for node in quantising:
        zero = array(made.tensors[node.input[2]])
        assert zero.dtype == np.int8
        assert not zero.any()
        assert zero.shape == array(made.tensors[node.input[1]]).shape


def test_no_two_weights_share_a_zero_point(made: OnnxFile) -> None:
    """ONNX Runtime refuses to make another one of it twice, as it does for processors without VNNI."""
    zeros = [
        n.input[2] for n in made.model.graph.node if n.op_type == "DequantizeLinear" and n.input[0] in made.tensors
    ]
    assert len(set(zeros)) == len(zeros) == LINEAR


def test_a_scale_covers_what_was_measured_or_a_little_less(made: OnnxFile, ranges: Ranges) -> None:
    makers = nodes_by_output(made)
    for source, sizes in ranges.channels.items():
        node = makers[f"{source}.int8"]
        factor = np.ones_like(sizes)
        if node.input[0] in (f"{source}.even", f"{source}.centred"):
            factor = 1 / array(made.tensors[f"{source}.factor"])
        covered = float(array(made.tensors[node.input[1]])) * 127
        if node.input[0] == f"{source}.centred":
            covered -= float(array(made.tensors[f"{source}.centre"]))
        if makers[source].op_type != "LayerNormalization":
            assert 0.69 < covered / (sizes / factor).max() < 1.01


def test_evening_out_changes_no_product(file: OnnxFile, made: OnnxFile, ranges: Ranges) -> None:
    """A norm's scale and bias are divided by what its readers' rows are multiplied with."""
    makers = nodes_by_output(made)
    for norm in ("blocks.0.norm1", "blocks.1.norm2"):
        source = f"{norm}.LayerNormalization"
        norms = ((file, nodes_by_output(file)[source]), (made, makers[source]))
        before, after = (np.stack([array(held.tensors[name]) for name in node.input[1:]]) for held, node in norms)
        factor = before[0] / after[0]
        assert factor.min() > 0
        assert np.ptp(factor) > 0
        np.testing.assert_allclose(after[1] * factor, before[1], rtol=1e-5)
        layer = norm.replace("norm1", "attn.qkv").replace("norm2", "mlp.fc1")
        weight = array(made.tensors[f"{layer}.weight.int8"]) * array(made.tensors[f"{layer}.weight.scale"])
        exact = array(file.tensors[f"{layer}.weight"])
        scaled = exact * factor[:, None]
        assert np.abs(weight - scaled).max() <= np.abs(scaled).max() / 2 / 126


def test_what_centring_takes_away_is_in_the_bias(file: OnnxFile, made: OnnxFile) -> None:
    """The constant times the weight, as it is in int8, comes back with the bias."""
    makers, before = nodes_by_output(made), nodes_by_output(file)
    for block in (0, 1):
        source, layer = f"blocks.{block}.mlp.act.Gelu", f"blocks.{block}.mlp.fc2"
        centre = float(array(made.tensors[f"{source}.centre"]))
        assert centre < 0
        assert list(makers[f"{source}.centred"].input) == [f"{source}.even", f"{source}.centre"]
        (product,) = (n for n in made.model.graph.node if n.input[:1] == [f"{source}.dequantised"])
        (reader,) = (n for n in made.model.graph.node if product.output[0] in n.input)
        (bias,) = (name for name in reader.input if name in made.tensors)
        (old,) = (name for name in before[reader.output[0]].input if name in file.tensors)
        weight = array(made.tensors[f"{layer}.weight.int8"]) * array(made.tensors[f"{layer}.weight.scale"])
        lacking = array(made.tensors[bias]) - array(file.tensors[old])
        np.testing.assert_allclose(lacking, -centre * weight.sum(axis=0), rtol=1e-4, atol=1e-5)


def test_products_that_round_too_much_stay(
    file: OnnxFile, made: OnnxFile, ranges: Ranges, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(int8_qdq, "KEPT", 0.0)
    kept = int8_qdq.make(file, ranges)
    assert kept.model.graph.node == file.model.graph.node
    assert kept.tensors.keys() <= file.tensors.keys()
    assert sum(n.op_type == "QuantizeLinear" for n in made.model.graph.node) == LINEAR


def test_a_norm_that_somebody_else_reads_keeps_its_scale(file: OnnxFile, ranges: Ranges) -> None:
    graph = file.model.graph
    source = "blocks.1.norm1.LayerNormalization"
    graph.node.append(onnx.helper.make_node("Neg", [source], ["other"]))
    made = int8_qdq.make(file, ranges)
    assert list(nodes_by_output(made)[source].input) == list(nodes_by_output(file)[source].input)
    assert nodes_by_output(made)["other"].input[0] == source
    assert bank.FEATURES in nodes_by_output(made)
