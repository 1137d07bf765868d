"""A slab whose values ONNX Runtime keeps in the memory of a GPU; what is written into a slot travels alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from adaptertune_deploy.engines.bank.slab import HostSlab
from adaptertune_deploy.engines.engine import AnyArray, TensorInfo


class OrtDeviceSlab(HostSlab):
    """Keeps engines.engine.Slab for ONNX Runtime's providers on a GPU.

    The arrays in host memory are what is on the device; they are what `read` gives.

    Args:
        shapes: see HostSlab.
        inputs: see HostSlab.
        capacity: slots.
        place: of an OrtValue: device and its number.
        wrap: makes an OrtValue there of an array.
        send: copies arrays to addresses there; see engines.cuda.copies.
        still: held while something is sent; nothing may be, while a run is being captured.
    """

    def __init__(
        self,
        shapes: Mapping[str, tuple[int, ...]],
        inputs: Mapping[str, TensorInfo],
        capacity: int,
        place: tuple[str, int],
        wrap: Callable[[AnyArray], Any],
        send: Callable[[Iterable[tuple[int, AnyArray]]], None],
        still: threading.Lock,
    ) -> None:
        super().__init__(shapes, inputs, capacity)
        self._place, self._send, self._still = place, send, still
        with still:
            self._values = {name: wrap(array) for name, array in self.arrays.items()}

    def write(self, slot: int, tensors: Mapping[str, AnyArray]) -> None:
        """See Slab.write."""
        super().write(slot, tensors)
        with self._still:
            self._send((self._address(name, slot), array[slot]) for name, array in self.arrays.items())

    def bind(self, binding: Any, slot: int | None) -> None:
        """Bind all slots of every input, or one as a bank of one task; no byte is copied."""
        if slot is not None:
            self._check_slot(slot)
        for name, array in self.arrays.items():
            if slot is None:
                binding.bind_ortvalue_input(name, self._values[name])
            else:
                shape = [1, *array.shape[1:]]
                binding.bind_input(name, *self._place, array.dtype.type, shape, self._address(name, slot))

    def _address(self, name: str, slot: int) -> int:
        return int(self._values[name].data_ptr()) + slot * self.arrays[name].strides[0]
