"""engines.bank.packed: the graph with three bank tensors answers as the graph with four a block."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.engines.bank import packed as packed_bank
from adaptertune_deploy.engines.bank.packed import PackedBank
from adaptertune_deploy.engines.onnx import nodes as onnx_nodes
from adaptertune_deploy.engines.onnx import signature as onnx_signature
from tests.engines.golden import golden_graph

SLOTS, WIDTH = (0, 1, 2), 32
TASKS, RANK = 5, 7


@pytest.fixture(scope="module")
def shared() -> bytes:
    return golden_graph(None)


@pytest.fixture
def layout(shared: bytes) -> PackedBank:
    return PackedBank.of(onnx_signature.read(shared, "g").inputs, SLOTS, "g")


@pytest.fixture
def held() -> dict[str, Any]:
    """A bank of five tasks of rank 7."""
    draw = np.random.default_rng(0)
    shapes = bank.slot_shapes(SLOTS, WIDTH, RANK)
    return {name: draw.normal(size=(TASKS, *shape), scale=0.3).astype(np.float32) for name, shape in shapes.items()}


def packed(layout: PackedBank, held: dict[str, Any], rank: int = RANK) -> dict[str, Any]:
    """Return the packed inputs of a bank, each task written on its own."""
    whole = {name: np.full(shape, 9, np.float32) for name, shape in layout.shapes(TASKS, rank).items()}
    for task in range(TASKS):
        parts = {name: array.reshape(TASKS, -1, *array.shape[1:])[task] for name, array in whole.items()}
        layout.fill(parts, {name: array[task] for name, array in held.items()})
    return whole


def run(data: bytes, **feeds: Any) -> Any:
    session = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
    draw = np.random.default_rng(1)
    rows = {
        bank.IMAGES: draw.normal(size=(3, 3, 32, 32)).astype(np.float32),
        bank.IMAGE: np.array([0, 2, 1, 2, 0]),
        bank.TASK: np.array([4, 0, 2, 1, 3]),
    }
    return session.run(None, {**rows, **feeds})[0]


@pytest.mark.parametrize("rank", [RANK, RANK + 2])
def test_it_answers_as_the_graph_it_was_made_of(
    shared: bytes, layout: PackedBank, held: dict[str, Any], rank: int
) -> None:
    """A larger rank than the tasks' is padding, which is exact."""
    found = run(packed_bank.pack(shared, layout, "g"), **packed(layout, held, rank))
    np.testing.assert_allclose(found, run(shared, **held), atol=2e-6)


def test_every_task_differs(shared: bytes, layout: PackedBank, held: dict[str, Any]) -> None:
    """Else the comparison above could not tell one slot from another."""
    data = packed_bank.pack(shared, layout, "g")
    whole = packed(layout, held)
    before = run(data, **whole)
    for name, array in whole.items():
        changed = array.copy()
        changed.reshape(TASKS, -1)[2] += 1
        moved = np.abs(run(data, **{**whole, name: changed}) - before).max(axis=1)
        assert moved[2] > 1e-3
        assert not moved[[0, 1, 3, 4]].any()


def test_what_is_taken_is_what_was_filled(layout: PackedBank, held: dict[str, Any]) -> None:
    whole = packed(layout, held)
    for task in range(TASKS):
        parts = {name: array.reshape(TASKS, -1, *array.shape[1:])[task] for name, array in whole.items()}
        for name, value in layout.take(parts).items():
            np.testing.assert_array_equal(value, held[name][task])


def test_a_bank_is_stacked_as_task_by_task(layout: PackedBank, held: dict[str, Any]) -> None:
    found, expected = layout.stack(held), packed(layout, held)
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[name], expected[name]) for name in expected)
    del held["blocks.1.adapter.up.bias"]
    with pytest.raises(EngineError, match="not the shapes of one task's tensors of this graph"):
        layout.stack(held)


def test_a_task_without_a_block_gets_zeros_there(layout: PackedBank, held: dict[str, Any]) -> None:
    parts = {name: np.full(shape, 9, np.float32) for name, shape in layout.shapes(1, RANK).items()}
    own = {name: array[0] for name, array in held.items() if name.startswith("blocks.1.")}
    layout.fill(parts, own)
    for name, value in layout.take(parts).items():
        np.testing.assert_array_equal(value, own.get(name, np.zeros_like(value)))


def test_the_new_graph_takes_three_tensors_and_says_what_the_old_one_said(shared: bytes, layout: PackedBank) -> None:
    data = packed_bank.pack(shared, layout, "g")
    old, new = onnx_signature.read(shared, "g"), onnx_signature.read(data, "g")
    rows = (bank.IMAGES, bank.IMAGE, bank.TASK)
    assert new.inputs == {**{name: old.inputs[name] for name in rows}, **layout.infos}
    assert (new.outputs, new.metadata) == (old.outputs, old.metadata)
    operators = [entry.operator for entry in onnx_nodes.read(data).nodes]
    assert not {"Shape", "Slice", "Range"} & set(operators), "a shape that is computed costs thirty layers"


def test_the_onnx_package_finds_nothing_wrong(shared: bytes, layout: PackedBank) -> None:
    onnx = pytest.importorskip("onnx")
    onnx.checker.check_model(onnx.load_from_string(packed_bank.pack(shared, layout, "g")), full_check=True)
