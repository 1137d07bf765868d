"""engines.onnxruntime.stacked_slab: written by the plain graph's names, read by ONNX Runtime as four inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.engines.onnxruntime.stacked_bank import StackedBank
from adaptertune_deploy.engines.onnxruntime.stacked_slab import StackedSlab

SLOTS, WIDTH, RANK = (0, 2), 16, 3
LAYOUT = StackedBank(SLOTS, WIDTH, np.dtype(np.float32))
SHAPES = bank.slot_shapes(SLOTS, WIDTH, RANK)


class Value:
    """Stands for a library's value."""

    def __init__(self, array: npt.NDArray[np.float32]) -> None:
        self.array = array


class Binding:
    """Notes what is bound."""

    def __init__(self) -> None:
        self.bound: dict[str, Any] = {}

    def bind_ortvalue_input(self, name: str, value: Value) -> None:
        assert name not in self.bound
        self.bound[name] = value.array


def bound(slab: StackedSlab, slot: int | None) -> dict[str, Any]:
    binding = Binding()
    slab.bind(binding, slot)
    return binding.bound


def drawn(seed: int) -> dict[str, Any]:
    draw = np.random.default_rng(seed)
    return {name: draw.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}


def test_what_is_written_is_what_a_bank_of_these_tasks_is() -> None:
    slab, tasks = StackedSlab(LAYOUT, SHAPES, 4, Value), {1: drawn(1), 3: drawn(3)}
    for slot, tensors in tasks.items():
        slab.write(slot, tensors)
    zeros: dict[str, Any] = {name: np.zeros(shape, np.float32) for name, shape in SHAPES.items()}
    whole = [tasks.get(slot, zeros) for slot in range(4)]
    expected = LAYOUT.stack({name: np.stack([task[name] for task in whole]) for name in SHAPES})
    found = bound(slab, None)
    assert found.keys() == expected.keys() == LAYOUT.infos.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].flags.c_contiguous
        for slot in range(4):
            own = bound(slab, slot)[name]
            np.testing.assert_array_equal(own, array[slot : slot + 1])
            assert own.flags.c_contiguous
            assert np.shares_memory(own, found[name])


def test_what_is_read_is_what_was_written() -> None:
    slab, own = StackedSlab(LAYOUT, SHAPES, 2, Value), drawn(1)
    slab.write(1, own)
    assert list(slab.read(1)) == list(SHAPES)
    for name, value in slab.read(1).items():
        np.testing.assert_array_equal(value, own[name])
    slab.write(1, {"blocks.2.adapter.up.bias": own["blocks.2.adapter.up.bias"]})
    for name, value in slab.read(1).items():
        assert value.any() == (name == "blocks.2.adapter.up.bias")
    with pytest.raises(EngineError, match=r"^tensor 'blocks.0.adapter.up.bias' has shape \[3\], a slot \[16\]$"):
        slab.write(1, {"blocks.0.adapter.up.bias": np.zeros(3, np.float32)})


def test_shapes_of_another_graph_are_refused() -> None:
    with pytest.raises(EngineError, match="not the shapes of one task's tensors of this graph"):
        StackedSlab(LAYOUT, bank.slot_shapes((0, 1), WIDTH, RANK), 2, Value)
