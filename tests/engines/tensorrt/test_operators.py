"""Graphs of a bundle, as they are and as they are derived, hold operators that TensorRT 10.1's ONNX parser reads.

JetPack 6 has TensorRT 10.3, whose table is that of 10.1. A precision's own operators are tested where its graphs are
made, against the same table.
"""

from __future__ import annotations

import pytest

from adaptertune_deploy.engines.bank import packed as packed_bank
from adaptertune_deploy.engines.onnx import nodes as onnx_nodes
from adaptertune_deploy.engines.onnx import signature as onnx_signature
from adaptertune_deploy.engines.onnx.nodes import FLOAT, INT64, WireGraph
from tests.engines.tensorrt import api_lists

TYPES = {FLOAT: "FP32", INT64: "INT64"}
# Inputs that must be constants, operator -> their places: from the table's restrictions.
CONSTANT = {"Slice": (1, 2, 3), "Squeeze": (1,), "Unsqueeze": (1,), "Pad": (1, 3), "ReduceMean": (1,), "Resize": (1, 2)}


# Inputs that are sizes, axes and places, and int64 by the operator's own definition.
PLACES = {**CONSTANT, "Gather": (1,), "Reshape": (1,), "Split": (1,)}


@pytest.fixture(params=["shared", "packed", "merged"])
def graph(request: pytest.FixtureRequest, shared: bytes, merged: bytes) -> WireGraph:
    if request.param == "packed":
        layout = packed_bank.PackedBank.of(onnx_signature.read(shared, "g").inputs, (0, 1, 2), "g")
        return onnx_nodes.read(packed_bank.pack(shared, layout, "g"))
    return onnx_nodes.read({"shared": shared, "merged": merged}[request.param])


def test_every_operator_is_in_the_table(graph: WireGraph) -> None:
    held = {node.operator for node in graph.nodes}
    assert len(held) > 8
    assert held <= api_lists.operators().keys()
    assert graph.domains == {""}


def test_the_opset_is_one_that_it_reads(graph: WireGraph) -> None:
    assert graph.opset == 20


def test_constants_are_of_types_that_their_operators_take(graph: WireGraph) -> None:
    for node in graph.nodes:
        for place, name in enumerate(node.inputs):
            if name in graph.tensors:
                kind = TYPES[graph.tensors[name].kind]
                own = ["INT64"] if place in PLACES.get(node.operator, ()) else None
                assert kind in (own or api_lists.operators()[node.operator]["types"]), (node.operator, name)


def test_axes_and_sizes_are_constants(graph: WireGraph) -> None:
    looked_at = 0
    for node in graph.nodes:
        for place in CONSTANT.get(node.operator, ()):
            if place < len(node.inputs) and node.inputs[place]:
                looked_at += 1
                assert node.inputs[place] in graph.tensors, node
    assert looked_at


def test_only_the_first_result_of_a_norm_is_asked_for(graph: WireGraph) -> None:
    norms = [node for node in graph.nodes if node.operator == "LayerNormalization"]
    assert norms
    assert all(len(node.outputs) == 1 for node in norms)


def test_the_scale_multiplies_the_queries_before_their_product_with_the_keys(graph: WireGraph) -> None:
    """TensorRT fuses this attention and not one whose scores are divided."""
    made = {output: node for node in graph.nodes for output in node.outputs}
    soft = [node for node in graph.nodes if node.operator == "Softmax"]
    assert len(soft) == 3
    for node in soft:
        product = made[node.inputs[0]]
        assert product.operator == "MatMul"
        assert made[product.inputs[0]].operator == "Mul"
