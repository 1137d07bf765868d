"""A slab in the GPU's memory: a task is written by one copy for each packed tensor, and never moves."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.engines.bank.packed import PackedBank
from adaptertune_deploy.engines.cuda import runtime as cuda
from adaptertune_deploy.engines.cuda.runtime import DeviceMemory, PinnedArray, Stream
from adaptertune_deploy.engines.engine import AnyArray


class TensorrtSlab:
    """Keeps engines.engine.Slab for engines.tensorrt.

    Args:
        layout: where a task's tensors lie.
        rank: of the slab.
        capacity: slots.
        gpu: index of the GPU.

    Raises:
        EngineError: no memory.
    """

    def __init__(self, layout: PackedBank, rank: int, capacity: int, gpu: int) -> None:
        self.layout, self.rank, self.capacity = layout, rank, capacity
        self._gpu = gpu
        cuda.use_device(gpu)
        self._lock = threading.Lock()  # of what follows: one task may be read while another one is written
        self._stream = Stream()
        self._part = {name: PinnedArray(shape, layout.dtype) for name, shape in layout.shapes(1, rank).items()}
        self._memory = {name: DeviceMemory(capacity * part.array.nbytes) for name, part in self._part.items()}

    @property
    def addresses(self) -> dict[str, int]:
        """Where each packed tensor lies in the GPU's memory."""
        return {name: memory.address for name, memory in self._memory.items()}

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The packed tensors' shapes, all slots."""
        return self.layout.shapes(self.capacity, self.rank)

    def write(self, slot: int, tensors: Mapping[str, AnyArray]) -> None:
        """See Slab.write."""
        self.check_slot(slot)
        self.layout.check(tensors, self.rank)
        self.put(slot, tensors)

    def put(self, slot: int, tensors: Mapping[str, AnyArray]) -> None:
        """Write a task's tensors, of the slab's rank or less, without looking at them again."""
        cuda.use_device(self._gpu)
        with self._lock:
            self.layout.fill(self._pinned, tensors)
            for name, pinned in self._part.items():
                self._stream.to_device(self._address(name, slot), pinned.address, pinned.array.nbytes)
            self._stream.wait()

    def read(self, slot: int) -> dict[str, AnyArray]:
        """See Slab.read."""
        self.check_slot(slot)
        cuda.use_device(self._gpu)
        with self._lock:
            for name, pinned in self._part.items():
                self._stream.to_host(pinned.address, self._address(name, slot), pinned.array.nbytes)
            self._stream.wait()
            return self.layout.take({name: array.copy() for name, array in self._pinned.items()})

    @property
    def _pinned(self) -> dict[str, AnyArray]:
        """One task's rows in host memory, on their way."""
        return {name: pinned.array for name, pinned in self._part.items()}

    def _address(self, name: str, slot: int) -> int:
        return self._memory[name].address + slot * self._part[name].array.nbytes

    def check_slot(self, slot: int) -> None:
        """Raise EngineError when there is no such slot."""
        if not 0 <= slot < self.capacity:
            raise EngineError(f"no slot {slot}, only 0 to {self.capacity - 1}")
