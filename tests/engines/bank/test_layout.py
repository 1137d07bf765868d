"""engines.bank.layout: a task's tensors whatever an engine makes of them, and graphs whose bank is another one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.engines.bank.layout import BankLayout, gathers
from adaptertune_deploy.engines.onnx import nodes as onnx_nodes
from adaptertune_deploy.engines.onnx import signature as onnx_signature
from tests.engines.golden import golden_graph
from tests.engines.onnx_files import FLOAT, INT64, graph, model, node, value_info

SLOTS, WIDTH, RANK = (0, 1, 2), 32, 7


@pytest.fixture(scope="module")
def shared() -> bytes:
    return golden_graph(None)


@pytest.fixture
def layout(shared: bytes) -> BankLayout:
    return BankLayout.of(onnx_signature.read(shared, "g").inputs, SLOTS, "g")


def test_it_knows_the_plain_graphs_inputs(shared: bytes, layout: BankLayout) -> None:
    inputs = onnx_signature.read(shared, "g").inputs
    assert (layout.slots, layout.width, layout.dtype) == (SLOTS, WIDTH, np.float32)
    assert layout.plain == {name: info for name, info in inputs.items() if name not in ("images", "image", "task")}


def test_every_tensor_is_gathered_by_a_node_of_its_own(shared: bytes) -> None:
    read = onnx_nodes.read(shared)
    found = gathers(read, SLOTS, "g")
    assert list(found) == list(bank.bank_names(SLOTS))
    assert all(read.nodes[index].inputs == (name, "task") for name, index in found.items())


def test_a_task_of_another_rank_or_block_is_refused(layout: BankLayout) -> None:
    shapes = bank.slot_shapes(SLOTS, WIDTH, RANK)
    own: dict[str, Any] = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    layout.check(own, RANK)
    layout.check({}, RANK)
    with pytest.raises(EngineError, match=r"^tensor '.*' has shape \[32, 7\], a slot \[32, 6\]$"):
        layout.check(own, RANK - 1)
    with pytest.raises(EngineError, match=r"^a slot has no tensor 'blocks.3.adapter.up.bias'$"):
        layout.check({"blocks.3.adapter.up.bias": own["blocks.1.adapter.up.bias"]}, RANK)


def test_ranks_are_read_off_shapes(layout: BankLayout) -> None:
    assert layout.rank(bank.slot_shapes(SLOTS, WIDTH, 6)) == 6
    for shapes in ({}, bank.slot_shapes(SLOTS[:2], WIDTH, 6), bank.slot_shapes(SLOTS, WIDTH + 1, 6)):
        with pytest.raises(EngineError, match="not the shapes of one task's tensors"):
            layout.rank(shapes)


def test_a_bank_that_is_read_otherwise_is_refused() -> None:
    inputs = [value_info(name, FLOAT, shape) for name, shape in bank.input_shapes(SLOTS, WIDTH).items()]
    other = node("Gather", ("blocks.0.adapter.down.weight", "image"), "rows")
    data = model(graph(other, inputs=(*inputs, value_info("image", INT64, ("B",))), outputs=()))
    with pytest.raises(EngineError, match=r"^g: 'blocks.0.adapter.down.weight' is not read by one Gather with 'task'"):
        gathers(onnx_nodes.read(data), SLOTS, "g")


def test_a_graph_that_lacks_a_tensor_is_refused(shared: bytes) -> None:
    inputs = dict(onnx_signature.read(shared, "g").inputs)
    with pytest.raises(EngineError, match=r"^g: has no input 'blocks.3.adapter.down.weight'; run atd export again$"):
        BankLayout.of(inputs, (*SLOTS, 3), "g")
    name = "blocks.1.adapter.up.bias"
    inputs[name] = inputs["blocks.1.adapter.down.weight"]
    with pytest.raises(EngineError, match=rf"^g: input '{name}' is float32 \['T', 32, 'r'\], expected float32"):
        BankLayout.of(inputs, SLOTS, "g")
