"""A slab in host memory that OpenVINO reads where it lies: a task's rows side by side, as the packed bank has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from adaptertune_deploy.engines.bank.packed import PackedBank
from adaptertune_deploy.engines.bank.slab import converted
from adaptertune_deploy.engines.bank.wrapped_slab import WrappedSlab
from adaptertune_deploy.engines.bfloat16 import to_bfloat16, to_float32
from adaptertune_deploy.engines.engine import AnyArray
from adaptertune_deploy.engines.openvino.tensor import HALF, tensor_of


class OpenVinoSlab(WrappedSlab):
    """A slab of OpenVINO tensors, which share the arrays' memory.

    Args:
        layout: where a task's tensors lie.
        rank: of the slab.
        capacity: slots.
        bfloat16: whether the model takes the bank in it.

    Raises:
        EngineError: no memory.
    """

    def __init__(self, layout: PackedBank, rank: int, capacity: int, bfloat16: bool) -> None:
        self.layout, self.rank = layout, rank
        self._half = bfloat16
        kept = replace(layout, dtype=HALF) if bfloat16 else layout
        super().__init__(layout.shapes(1, rank), kept.infos, capacity, _packed)

    def write(self, slot: int, tensors: Mapping[str, AnyArray]) -> None:
        """See Slab.write."""
        self._check_slot(slot)
        self.layout.check(tensors, self.rank)
        values = {name: converted(name, value, self.layout.dtype) for name, value in tensors.items()}
        rows = {name: np.empty(shape, self.layout.dtype) for name, shape in self.layout.shapes(1, self.rank).items()}
        self.layout.fill(rows, values)
        for name, array in self.arrays.items():
            given = to_bfloat16(rows[name]) if self._half else rows[name]
            for place, row in zip(array[slot], given, strict=True):
                if row.any() or place.any():  # zeros over zeros would turn spare pages into memory
                    place[...] = row

    def read(self, slot: int) -> dict[str, AnyArray]:
        """See Slab.read; bfloat16 becomes float32, which is exact."""
        rows = super().read(slot)
        return self.layout.take({name: to_float32(row) for name, row in rows.items()} if self._half else rows)


def _packed(array: AnyArray) -> object:
    """Return the tensor of some slots [T, rows, ...], their rows one behind another."""
    return tensor_of(array.reshape(-1, *array.shape[2:]))
