"""Tensors of many tasks in host memory, one behind another along a leading slot axis.

Pages of memory that nothing was written to cost nothing, so a slab may have far more slots than tasks. A slab takes its
pages from the system itself: what malloc hands out may be memory that was used before and is written over with zeros.
"""

from __future__ import annotations

import contextlib
import math
import mmap
from collections.abc import Mapping
from typing import Any

import numpy as np

from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.engines.engine import AnyArray, TensorInfo

ALIGNMENT = 64  # bytes; no vector instruction asks for more


class HostSlab:
    """Keeps engines.engine.Slab where an engine reads host memory.

    Args:
        shapes: input -> shape of one slot's tensor.
        inputs: the graph's inputs, which give the dtypes.
        capacity: slots.

    Raises:
        EngineError: no memory.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], inputs: Mapping[str, TensorInfo], capacity: int) -> None:
        self.capacity = capacity
        self.arrays: dict[str, AnyArray] = {}
        sizes = {name: capacity * math.prod(shape) * inputs[name].dtype.itemsize for name, shape in shapes.items()}
        memory = _pages(sum(_aligned(size) for size in sizes.values()), capacity)
        start = 0
        for name, shape in shapes.items():
            part = np.frombuffer(memory, np.uint8, sizes[name], start)  # holds the memory as long as it lives
            self.arrays[name] = part.view(inputs[name].dtype).reshape(capacity, *shape)
            start += _aligned(sizes[name])

    def write(self, slot: int, tensors: Mapping[str, AnyArray]) -> None:
        """See Slab.write; nothing is written unless all of it fits."""
        self._check_slot(slot)
        for name, value in tensors.items():
            if name not in self.arrays:
                raise EngineError(f"a slot has no tensor '{name}'")
            expected = self.arrays[name].shape[1:]
            if value.shape != expected:
                raise EngineError(f"tensor '{name}' has shape {list(value.shape)}, a slot {list(expected)}")
        held = {name: converted(name, value, self.arrays[name].dtype) for name, value in tensors.items()}
        for name, array in self.arrays.items():
            if name in held:
                array[slot] = held[name]
            elif array[slot].any():  # zeros are not written over zeros: that would turn spare pages into memory
                array[slot] = 0

    def read(self, slot: int) -> dict[str, AnyArray]:
        """See Slab.read."""
        self._check_slot(slot)
        return {name: array[slot] for name, array in self.arrays.items()}

    def _check_slot(self, slot: int) -> None:
        if not 0 <= slot < self.capacity:
            raise EngineError(f"no slot {slot}, only 0 to {self.capacity - 1}")


def converted(name: str, value: AnyArray, dtype: np.dtype[Any]) -> AnyArray:
    """Return an array in the slab's dtype; raise EngineError where that can't hold it."""
    with np.errstate(over="ignore"):
        result = value.astype(dtype, copy=False)
    if result is not value and not np.isfinite(result).all():
        raise EngineError(
            f"tensor '{name}' holds {np.abs(value).max():.3g}, more than {dtype} can; choose another --precision"
        )
    return result


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _pages(size: int, capacity: int) -> mmap.mmap:
    """Return zeros that are no memory yet. Huge pages are declined: the first number written would make 2 MB of them.

    Raises:
        EngineError: no memory.
    """
    try:
        memory = mmap.mmap(-1, max(1, size), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except (OSError, OverflowError, ValueError):
        raise EngineError(f"no memory for {capacity} slots, {size / 1e6:,.0f} MB; serve fewer tasks") from None
    with contextlib.suppress(AttributeError, OSError):  # a system without huge pages
        memory.madvise(mmap.MADV_NOHUGEPAGE)
    return memory
