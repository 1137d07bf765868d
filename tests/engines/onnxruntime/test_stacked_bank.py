"""engines.onnxruntime.stacked_bank: four inputs in place of the bank's, and every answer is the same to the bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.engines.onnx import nodes as onnx_nodes
from adaptertune_deploy.engines.onnx import signature as onnx_signature
from adaptertune_deploy.engines.onnx.nodes import Changes, WireNode
from adaptertune_deploy.engines.onnxruntime.library import ort
from adaptertune_deploy.engines.onnxruntime.stacked_bank import StackedBank, stacking
from tests.engines.golden import golden_graph

SLOTS, WIDTH = (0, 1, 2), 32
ROWS = (bank.IMAGES, bank.IMAGE, bank.TASK)


@pytest.fixture(scope="module")
def shared() -> bytes:
    return golden_graph(None)


@pytest.fixture(scope="module")
def layout(shared: bytes) -> StackedBank:
    return StackedBank.of(onnx_signature.read(shared, "g").inputs, SLOTS, "g")


def stacked(data: bytes, layout: StackedBank) -> bytes:
    graph = onnx_nodes.read(data)
    return onnx_nodes.replace(graph, stacking(graph, layout, "g"))


def held(tasks: int, rank: int) -> dict[str, Any]:
    draw = np.random.default_rng(0)
    shapes = bank.slot_shapes(SLOTS, WIDTH, rank)
    return {name: draw.normal(size=(tasks, *shape)).astype(np.float32) for name, shape in shapes.items()}


def run(data: bytes, task: list[int], tensors: dict[str, Any]) -> Any:
    """Return the features of as many rows as `task` has, about two images."""
    images = np.random.default_rng(1).normal(size=(2, 3, 32, 32)).astype(np.float32)
    given = {bank.IMAGES: images, bank.IMAGE: np.arange(len(task)) % 2, bank.TASK: np.array(task)}
    return ort.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, {**given, **tensors})[0]


@pytest.mark.parametrize("rank", [1, 3])
@pytest.mark.parametrize(("task", "tasks"), [([0], 1), ([3], 5), ([0] * 3, 1), ([4, 1, 1, 0, 2, 3, 4, 1], 5)])
def test_every_answer_is_the_same_to_the_bit(
    shared: bytes, layout: StackedBank, task: list[int], tasks: int, rank: int
) -> None:
    tensors = held(tasks, rank)
    found = run(stacked(shared, layout), task, layout.stack(tensors))
    np.testing.assert_array_equal(found, run(shared, task, tensors))


def test_every_tensor_reaches_its_own_task_alone(shared: bytes, layout: StackedBank) -> None:
    """Else the comparison above could not tell one block from another."""
    data, tensors, task = stacked(shared, layout), held(5, 3), [4, 2, 1, 0, 2, 3]
    before = run(data, task, layout.stack(tensors))
    seen = set()
    for name in tensors:
        changed = {**tensors, name: tensors[name].copy()}
        changed[name][2] *= -1  # the norm behind the last block would not see a number that is added everywhere
        found = run(data, task, layout.stack(changed))
        np.testing.assert_array_equal(np.any(found != before, axis=1), np.array(task) == 2)
        seen.add(found.tobytes())
    assert len(seen) == len(tensors)


def test_four_inputs_four_gathers_and_four_cuts_are_left(shared: bytes, layout: StackedBank) -> None:
    old, new = onnx_signature.read(shared, "g"), onnx_signature.read(stacked(shared, layout), "g")
    assert new.inputs == {**{name: old.inputs[name] for name in ROWS}, **layout.infos}
    assert {**{name: new.inputs[name] for name in ROWS}, **layout.plain} == old.inputs
    assert (new.outputs, new.metadata) == (old.outputs, old.metadata)
    before, after = (onnx_nodes.read(data).nodes for data in (shared, stacked(shared, layout)))
    tensors = len(SLOTS) * 4
    assert len(before) - len(after) == tensors + tensors // 2 - 8  # a Gather each, and an axis of tokens for a bias
    assert sum(bank.TASK in node.inputs for node in after) == 4


def test_the_onnx_package_finds_nothing_wrong(shared: bytes, layout: StackedBank) -> None:
    onnx = pytest.importorskip("onnx")
    onnx.checker.check_model(onnx.load_from_string(stacked(shared, layout)), full_check=True)


def test_views_are_parts_of_the_four_arrays(layout: StackedBank) -> None:
    tensors = held(5, 3)
    arrays = layout.stack(tensors)
    assert {name: array.shape[1:] for name, array in arrays.items()} == layout.shapes(3)
    views = layout.views(arrays)
    assert list(views) == list(bank.bank_names(SLOTS))
    for name, view in views.items():
        np.testing.assert_array_equal(view, tensors[name])
        assert any(np.shares_memory(view, array) for array in arrays.values())
    assert sum(view.size for view in views.values()) == sum(array.size for array in arrays.values())


def test_a_bank_of_another_form_is_refused(layout: StackedBank) -> None:
    tensors = held(5, 3)
    short = {**tensors, "blocks.1.adapter.up.bias": tensors["blocks.1.adapter.up.bias"][:4]}
    with pytest.raises(EngineError, match="the bank's tensors differ in how many tasks they hold"):
        layout.stack(short)
    del tensors["blocks.1.adapter.up.bias"]
    with pytest.raises(EngineError, match="not the shapes of one task's tensors of this graph"):
        layout.stack(tensors)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("read twice", "'blocks.0.adapter.down.bias' is not read as one row for all tokens; run atd export again"),
        ("other axis", "'blocks.0.adapter.down.bias' is not read as one row for all tokens; run atd export again"),
        ("axis of no constant", "'blocks.0.adapter.down.bias' is not read as one row for all tokens"),
        ("another index", "'blocks.0.adapter.down.bias' is not read by one Gather with 'task', as export writes it"),
    ],
)
def test_what_is_not_written_so_is_refused(shared: bytes, layout: StackedBank, change: str, message: str) -> None:
    graph = onnx_nodes.read(shared)
    gather = next(i for i, node in enumerate(graph.nodes) if "blocks.0.adapter.down.bias" in node.inputs)
    made = graph.nodes[gather]
    place = next(i for i, node in enumerate(graph.nodes) if made.outputs[0] in node.inputs)
    node = graph.nodes[place]
    assert node.operator == "Unsqueeze"
    other = {
        "read twice": {place: [node, WireNode("Neg", (node.inputs[0],), ("more",), name="more")]},
        "other axis": {place: [WireNode("Unsqueeze", (node.inputs[0], "two"), node.outputs, name="u")]},
        "axis of no constant": {place: [WireNode("Unsqueeze", (node.inputs[0], bank.IMAGE), node.outputs, name="u")]},
        "another index": {gather: [WireNode("Gather", (made.inputs[0], bank.IMAGE), made.outputs, name="g")]},
    }[change]
    changed = onnx_nodes.read(onnx_nodes.replace(graph, Changes(other, {"two": [2]})))
    with pytest.raises(EngineError, match=f"^g: {message}"):
        stacking(changed, layout, "g")
