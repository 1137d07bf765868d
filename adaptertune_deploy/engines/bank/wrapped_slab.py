"""A slab in host memory, and what an engine's library makes of its arrays to read them there.

Such a value shares the array's memory: what is written into a slot is in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from adaptertune_deploy.engines.bank.slab import HostSlab
from adaptertune_deploy.engines.engine import AnyArray, TensorInfo

OWN = 32  # tasks whose own values are kept: 50 objects each


class WrappedSlab(HostSlab):
    """Keeps engines.engine.Slab for an engine whose library wraps arrays; each engine has a class of its own of it.

    Args:
        shapes: see HostSlab.
        inputs: see HostSlab.
        capacity: slots.
        wrap: makes a value of an array that shares its memory.
    """

    def __init__(
        self,
        shapes: Mapping[str, tuple[int, ...]],
        inputs: Mapping[str, TensorInfo],
        capacity: int,
        wrap: Callable[[AnyArray], Any],
    ) -> None:
        super().__init__(shapes, inputs, capacity)
        self._wrap = wrap
        self._wrapped = self.arrays  # where a slab shows its tensors as parts of these, `arrays` is what it shows
        self._values = {name: wrap(array) for name, array in self._wrapped.items()}
        self._own: dict[int, dict[str, Any]] = {}

    def values(self, slot: int | None) -> Mapping[str, Any]:
        """Return the values of all slots, or of one slot as a bank of one task."""
        if slot is None:
            return self._values
        self._check_slot(slot)
        own = self._own.get(slot)
        if own is None:
            own = {name: self._wrap(array[slot : slot + 1]) for name, array in self._wrapped.items()}
            if len(self._own) >= OWN:
                self._own = {}
            self._own[slot] = own
        return own
