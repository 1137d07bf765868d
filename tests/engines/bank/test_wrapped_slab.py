"""engines.bank.wrapped_slab: values that share the arrays' memory, of all slots and of one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.engines.bank.wrapped_slab import OWN, WrappedSlab
from adaptertune_deploy.engines.engine import TensorInfo

Floats = npt.NDArray[np.float32]
SHAPES = {"bias": (2,)}
INPUTS = {"bias": TensorInfo("bias", np.dtype(np.float32), ("T", 2))}


class Value:
    """Stands for a library's value."""

    def __init__(self, array: Floats) -> None:
        self.array = array


def make(capacity: int = 4) -> WrappedSlab:
    return WrappedSlab(SHAPES, INPUTS, capacity, Value)


def test_values_show_what_was_written() -> None:
    slab = make()
    whole = slab.values(None)["bias"]
    for number in (1, 2):
        slab.write(3, {"bias": np.full(2, number, np.float32)})
        assert slab.values(3)["bias"].array.tolist() == [[number, number]]
        assert slab.values(1)["bias"].array.tolist() == [[0, 0]]
        assert slab.values(None)["bias"] is whole
        assert whole.array.tolist() == [[0, 0]] * 3 + [[number, number]]


def test_a_slots_own_values_are_made_once_and_share_the_slabs_memory() -> None:
    slab = make()
    own = slab.values(2)["bias"]
    assert slab.values(2)["bias"] is own
    assert np.shares_memory(own.array, slab.arrays["bias"])


def test_only_some_tasks_own_values_are_kept() -> None:
    slab = make(10 * OWN)
    for slot in range(10 * OWN):
        assert slab.values(slot)["bias"].array.shape == (1, 2)
        assert len(slab._own) <= OWN


def test_a_slot_that_is_not_there_has_no_values() -> None:
    with pytest.raises(EngineError, match="no slot 4, only 0 to 3"):
        make().values(4)
