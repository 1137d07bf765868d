"""engines.bank.slab: slots written in place, at addresses that stay, and spare ones that are no memory."""

from __future__ import annotations

import gc
import mmap

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.engines.bank import slab
from adaptertune_deploy.engines.bank.slab import HostSlab
from adaptertune_deploy.engines.engine import TensorInfo

SHAPES = {"weight": (3, 2), "bias": (2,)}
INPUTS = {name: TensorInfo(name, np.dtype(np.float32), ("T", *shape)) for name, shape in SHAPES.items()}
HALF = {**INPUTS, "bias": TensorInfo("bias", np.dtype(np.float16), ("T", 2))}


def values(number: float) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    return {name: np.full(shape, number, np.float32) for name, shape in SHAPES.items()}


@given(writes=st.lists(st.tuples(st.integers(0, 4), st.integers(1, 9), st.booleans()), max_size=12))
def test_a_slot_holds_what_was_written_last_and_the_others_what_they_held(writes: list[tuple[int, int, bool]]) -> None:
    held, wanted = HostSlab(SHAPES, INPUTS, 5), {name: np.zeros((5, *shape)) for name, shape in SHAPES.items()}
    for slot, number, whole in writes:
        tensors = values(number) if whole else {"bias": values(number)["bias"]}
        held.write(slot, tensors)
        for name in SHAPES:
            wanted[name][slot] = number if name in tensors else 0
    for name, array in wanted.items():
        np.testing.assert_array_equal(held.arrays[name], array)
        for slot in range(5):
            np.testing.assert_array_equal(held.read(slot)[name], array[slot])


def test_addresses_stay_and_begin_where_vectors_do() -> None:
    held = HostSlab(SHAPES, INPUTS, 5)
    before = {name: array.ctypes.data for name, array in held.arrays.items()}
    for slot in range(5):
        held.write(slot, values(slot))
    assert {name: array.ctypes.data for name, array in held.arrays.items()} == before
    assert all(address % slab.ALIGNMENT == 0 for address in before.values())
    assert all(array.flags.c_contiguous for array in held.arrays.values())


def pages_in_memory(array: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> int:
    """Return how many of an array's pages are memory, as the kernel says: bit 63 of their entries in pagemap."""
    start, size = array.ctypes.data, array.nbytes
    first, last = start // mmap.PAGESIZE, (start + size - 1) // mmap.PAGESIZE
    with open("/proc/self/pagemap", "rb") as stream:
        stream.seek(8 * first)
        entries = np.frombuffer(stream.read(8 * (last - first + 1)), np.uint64)
    return int((entries >> np.uint64(63)).sum())


@pytest.mark.parametrize("capacity", [2, 1000])
def test_only_what_was_written_is_memory(capacity: int) -> None:
    """Whatever malloc holds free: small slabs too take no memory for spare slots, of which slot 0 is always one."""
    shape = {"weight": (20, mmap.PAGESIZE // 4)}
    inputs = {"weight": TensorInfo("weight", np.dtype(np.float32), ("T", *shape["weight"]))}
    used = [np.ones(20 * mmap.PAGESIZE, np.uint8) for _ in range(20)]  # what malloc would hand out again
    del used
    held = HostSlab(shape, inputs, capacity)
    assert pages_in_memory(held.arrays["weight"]) == 0
    held.write(1, {"weight": np.ones(shape["weight"], np.float32)})
    assert pages_in_memory(held.arrays["weight"]) == 20
    held.write(0, {})
    held.read(0)
    assert pages_in_memory(held.arrays["weight"][1:]) == 20


def test_an_array_outlives_its_slab() -> None:
    held = HostSlab(SHAPES, INPUTS, 2)
    held.write(1, values(7))
    arrays = held.arrays
    del held
    gc.collect()
    assert (arrays["weight"][1] == 7).all()


def test_values_take_the_graphs_type() -> None:
    held = HostSlab(SHAPES, HALF, 2)
    held.write(1, values(1 / 3))
    assert (held.read(1)["weight"].dtype, held.read(1)["bias"].dtype) == (np.float32, np.float16)
    assert held.read(1)["bias"].tolist() == [np.float16(1 / 3)] * 2


def test_a_value_that_the_type_cannot_hold_changes_nothing() -> None:
    held = HostSlab(SHAPES, HALF, 2)
    held.write(1, values(3))
    with pytest.raises(EngineError, match=r"^tensor 'bias' holds 7e\+04, more than float16 can; choose another --prec"):
        held.write(1, values(7e4))
    assert held.read(1)["weight"].max() == held.read(1)["bias"].max() == 3


@pytest.mark.parametrize(
    ("slot", "tensors", "message"),
    [
        (2, values(1), "no slot 2, only 0 to 1"),
        (-1, values(1), "no slot -1, only 0 to 1"),
        (0, {**values(1), "head": np.zeros(1)}, "a slot has no tensor 'head'"),
        (0, {**values(1), "bias": np.zeros(1)}, r"tensor 'bias' has shape \[1\], a slot \[2\]"),
        (0, {**values(1), "bias": np.zeros(())}, r"tensor 'bias' has shape \[\], a slot \[2\]"),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(slot: int, tensors: dict[str, object], message: str) -> None:
    held = HostSlab(SHAPES, INPUTS, 2)
    held.write(0, values(7))
    with pytest.raises(EngineError, match=message):
        held.write(slot, tensors)  # type: ignore[arg-type]
    assert (held.arrays["weight"][0] == 7).all()
    assert (held.arrays["bias"][0] == 7).all()


@pytest.mark.parametrize("slot", [-1, 2])
def test_a_slot_that_is_not_there_is_not_read(slot: int) -> None:
    with pytest.raises(EngineError, match=f"no slot {slot}, only 0 to 1"):
        HostSlab(SHAPES, INPUTS, 2).read(slot)


def test_more_slots_than_memory_is_one_line() -> None:
    with pytest.raises(EngineError, match=r"no memory for 1125899906842624 slots, [0-9,]+ MB; serve fewer tasks"):
        HostSlab(SHAPES, INPUTS, 1 << 50)
