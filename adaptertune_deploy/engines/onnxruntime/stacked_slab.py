"""A slab in host memory that ONNX Runtime reads where it lies, as the four inputs of the stacked bank."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from adaptertune_deploy.engines.engine import AnyArray
from adaptertune_deploy.engines.onnxruntime.slab import OrtSlab
from adaptertune_deploy.engines.onnxruntime.stacked_bank import StackedBank


class StackedSlab(OrtSlab):
    """A slab whose tensors, by the plain graph's names, are parts of four.

    Args:
        layout: where a task's tensors lie.
        shapes: see HostSlab; those of the plain graph.
        capacity: slots.
        wrap: makes a value of an array that shares its memory.

    Raises:
        EngineError: no memory, or not the shapes of a task of this graph.
    """

    def __init__(
        self,
        layout: StackedBank,
        shapes: Mapping[str, tuple[int, ...]],
        capacity: int,
        wrap: Callable[[AnyArray], Any],
    ) -> None:
        super().__init__(layout.shapes(layout.rank(shapes)), layout.infos, capacity, wrap)
        self.arrays = layout.views(self.arrays)
