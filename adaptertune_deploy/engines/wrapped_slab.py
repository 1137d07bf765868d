"""A slab in host memory, and what an engine's library makes of its arrays to read them.

Such a value may share the array's memory: then what is written into a slot is there. Or it is a device's copy: then a
write sends the slab's tensors again, all slots of them, which takes milliseconds and keeps the addresses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from adaptertune_deploy.engines.engine import AnyArray, TensorInfo
from adaptertune_deploy.engines.slab import HostSlab

OWN = 32  # tasks whose own values are kept: 50 objects each


class WrappedSlab(HostSlab):
    """Keeps engines.engine.Slab for an engine whose library wraps arrays; each engine has a class of its own of it.

    Args:
        shapes: see HostSlab.
        inputs: see HostSlab.
        capacity: slots.
        wrap: makes a value on the engine's device of an array.
        shared: whether such a value shares the array's memory; else it has `update_inplace`.
    """

    def __init__(
        self,
        shapes: Mapping[str, tuple[int, ...]],
        inputs: Mapping[str, TensorInfo],
        capacity: int,
        wrap: Callable[[AnyArray], Any],
        shared: bool,
    ) -> None:
        super().__init__(shapes, inputs, capacity)
        self._wrap, self._shared = wrap, shared
        self._values = {name: wrap(array) for name, array in self.arrays.items()}
        self._own: dict[int, dict[str, Any]] = {}

    def write(self, slot: int, tensors: Mapping[str, AnyArray]) -> None:
        """See Slab.write."""
        super().write(slot, tensors)
        if not self._shared:
            self._own.pop(slot, None)
            for name, value in self._values.items():
                value.update_inplace(self.arrays[name])

    def values(self, slot: int | None) -> Mapping[str, Any]:
        """Return the values of all slots, or of one slot as a bank of one task."""
        if slot is None:
            return self._values
        self._check_slot(slot)
        own = self._own.get(slot)
        if own is None:
            own = {name: self._wrap(array[slot : slot + 1]) for name, array in self.arrays.items()}
            if len(self._own) >= OWN:
                self._own = {}
            self._own[slot] = own
        return own
