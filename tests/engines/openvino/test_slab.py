from __future__ import annotations

import importlib.util
import resource
from typing import Any

import numpy as np
import pytest

if importlib.util.find_spec("openvino") is None:
    pytest.skip("OpenVINO is an extra of its own", allow_module_level=True)

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.engines.bank.packed import DOWN, UP, WEIGHTS, PackedBank
from adaptertune_deploy.engines.bfloat16 import to_bfloat16, to_float32
from adaptertune_deploy.engines.openvino.slab import OpenVinoSlab

SLOTS, WIDTH, RANK = (1, 4), 6, 3
LAYOUT = PackedBank(SLOTS, WIDTH, np.dtype(np.float32))


def task(seed: int, slots: tuple[int, ...] = SLOTS) -> dict[str, Any]:
    draw = np.random.default_rng(seed)
    shapes = bank.slot_shapes(slots, WIDTH, RANK)
    return {name: draw.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def test_a_task_is_read_as_it_was_written() -> None:
    slab = OpenVinoSlab(LAYOUT, RANK, 4, bfloat16=False)
    slab.write(1, task(1))
    slab.write(3, task(3))
    for slot, expected in ((1, task(1)), (3, task(3))):
        found = slab.read(slot)
        assert found.keys() == expected.keys()
        assert all(np.array_equal(found[name], value) for name, value in expected.items())
    assert not any(value.any() for value in slab.read(2).values())
    slab.write(3, {})
    assert not any(value.any() for value in slab.read(3).values())


def test_rows_of_all_slots_lie_one_behind_another() -> None:
    """Row 2 (t L + l) is the down weight, turned, of slot t in the l-th block."""
    slab = OpenVinoSlab(LAYOUT, RANK, 4, bfloat16=False)
    slab.write(2, task(2))
    whole, own = slab.values(None), slab.values(2)
    assert {name: list(value.shape) for name, value in whole.items()} == {
        WEIGHTS: [16, RANK, WIDTH],
        DOWN: [8, RANK],
        UP: [8, WIDTH],
    }
    assert [list(own[name].shape) for name in (WEIGHTS, DOWN, UP)] == [[4, RANK, WIDTH], [2, RANK], [2, WIDTH]]
    assert np.array_equal(whole[WEIGHTS].data[2 * (2 * 2 + 1)], task(2)["blocks.4.adapter.down.weight"].T)
    assert np.array_equal(own[WEIGHTS].data[1], task(2)["blocks.1.adapter.up.weight"])
    assert np.array_equal(own[UP].data[1], task(2)["blocks.4.adapter.up.bias"])
    slab.write(2, task(5))
    assert np.array_equal(own[UP].data[1], task(5)["blocks.4.adapter.up.bias"])


def test_bfloat16_is_rounded_and_given_back_as_float32() -> None:
    """From a float32 bank OpenVINO would convert the slots of all tasks in every run."""
    slab = OpenVinoSlab(LAYOUT, RANK, 2, bfloat16=True)
    slab.write(1, task(1))
    assert {array.dtype for array in slab.arrays.values()} == {np.dtype(np.uint16)}
    for name, value in slab.read(1).items():
        assert value.dtype == np.float32
        assert np.array_equal(value, to_float32(to_bfloat16(task(1)[name])))


def test_a_block_that_a_task_leaves_alone_takes_no_memory() -> None:
    """Spare slots and zeros are pages that nobody has written to."""
    layout, tasks = PackedBank(tuple(range(12)), 256, np.dtype(np.float32)), 64
    slab = OpenVinoSlab(layout, 64, tasks, bfloat16=False)
    last = {name: np.ones(shape, np.float32) for name, shape in bank.slot_shapes((11,), 256, 64).items()}
    before = resident()
    for slot in range(tasks):
        slab.write(slot, last)
    written = tasks * sum(value.nbytes for value in last.values())
    assert resident() - before < 2 * written < 0.2 * sum(array.nbytes for array in slab.arrays.values())


def resident() -> int:
    """Return this process's resident memory in bytes."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def test_what_is_no_part_of_a_task_is_refused() -> None:
    slab = OpenVinoSlab(LAYOUT, RANK, 2, bfloat16=False)
    slab.write(1, task(1))
    with pytest.raises(EngineError, match=r"^a slot has no tensor 'blocks.2.adapter.down.bias'$"):
        slab.write(1, {"blocks.2.adapter.down.bias": np.zeros(RANK, np.float32)})
    with pytest.raises(EngineError, match=r"^tensor 'blocks.1.adapter.down.bias' has shape \[2\], a slot \[3\]$"):
        slab.write(1, {"blocks.1.adapter.down.bias": np.zeros(2, np.float32)})
    with pytest.raises(EngineError, match=r"^no slot 2, only 0 to 1$"):
        slab.write(2, task(2))
    assert np.array_equal(slab.read(1)["blocks.1.adapter.down.bias"], task(1)["blocks.1.adapter.down.bias"])
    half = OpenVinoSlab(PackedBank(SLOTS, WIDTH, np.dtype(np.float16)), RANK, 2, bfloat16=False)
    with pytest.raises(EngineError, match="more than float16 can"):
        half.write(1, {"blocks.1.adapter.down.bias": np.full(RANK, 1e6, np.float32)})
