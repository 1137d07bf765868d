"""export.explain: the block in which two graphs part is the one that is named."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from adaptertune_deploy.core.adapter.folder import Adapter
from adaptertune_deploy.core.precision import TOLERANCES, Precision
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.engines.options import ON_CPU
from adaptertune_deploy.export import onnx_file
from adaptertune_deploy.export.explain import Explanation, block_ends, explain
from adaptertune_deploy.export.onnx_file import OnnxFile, array
from adaptertune_deploy.export.precision.ranges import NONE
from adaptertune_deploy.export.precision.table import graph_in
from tests.export.conftest import SLOTS


def test_the_end_of_a_block_is_that_of_its_adapter(shared_graph: bytes) -> None:
    file = onnx_file.read(shared_graph, "graph")
    assert block_ends(file) == {block: f"blocks.{block}.adapter.Add_2" for block in SLOTS}
    left = [node for node in file.model.graph.node if not node.output[0].startswith("blocks.0.adapter")]
    del file.model.graph.node[:]
    file.model.graph.node.extend(left)
    assert block_ends(file)[0] == "blocks.0.Add_1"


@pytest.mark.parametrize("block", [0, 2])
def test_a_block_that_computes_something_else_is_the_first_that_differs(
    shared_graph: bytes, held: Sequence[Adapter], images: Array, block: int
) -> None:
    file = onnx_file.read(shared_graph, "graph")
    name = f"blocks.{block}.mlp.fc1.weight"
    wrong = onnx_file.write(OnnxFile(file.model, {**file.tensors, name: array(file.tensors[name]) * 1.5}), "graph")
    found = explain(shared_graph, wrong, Precision.FP32, held, SLOTS, images, ON_CPU)
    assert found.first == block
    assert all(found.errors[earlier] == 0 for earlier in range(block))


def test_a_graph_of_another_precision_differs_a_little_everywhere(
    shared_graph: bytes, held: Sequence[Adapter], images: Array
) -> None:
    made = graph_in(shared_graph, Precision.FP16, NONE, "a backbone")
    found = explain(shared_graph, made, Precision.FP16, held, SLOTS, images, ON_CPU)
    assert list(found.errors) == [0, 1, 2]
    assert all(0 < error < 2e-3 for error in found.errors.values())
    assert found.first is None


def test_the_words_name_the_block_and_every_error() -> None:
    found = Explanation(Precision.INT8, {0: 0.012, 1: 0.1534, 2: 0.2})
    assert found.words == (
        "int8: block 1 is the first that differs from fp32 by more than 15 % (block 0: 1.2 %, 1: 15 %, 2: 20 %)"
    )
    assert Explanation(Precision.FP16, {0: 0.0001}).words == (
        "fp16: no block differs from fp32 by more than 0.2 % (block 0: 0.01 %)"
    )
    assert Explanation(Precision.FP16, {3: float("nan")}).first == 3
    assert Explanation(Precision.BF16, {}).allowed == TOLERANCES[Precision.BF16].rtol
