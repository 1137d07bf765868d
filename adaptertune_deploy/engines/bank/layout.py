"""The bank of a shared graph, of which an engine makes another one that suits it when it opens the graph.

Such a bank has fewer tensors, each with those of several blocks; engines.bank.packed has three of them, for example. A
task's tensors go by the plain graph's names all the same, and the file on disk is never changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.core.adapter.identity import tensor_name
from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.engines.engine import AnyArray, TensorInfo
from adaptertune_deploy.engines.onnx.nodes import WireGraph, WireNode

AGAIN = "run atd export again"
Layout = TypeVar("Layout", bound="BankLayout")


@dataclass(frozen=True)
class BankLayout:
    """What a task's tensors are, whatever an engine makes of them.

    slots: blocks with an adapter, ascending.
    width: D, channels of the backbone's tokens.
    dtype: of the bank.
    """

    slots: tuple[int, ...]
    width: int
    dtype: np.dtype[Any]

    @classmethod
    def of(cls: type[Layout], inputs: Mapping[str, TensorInfo], slots: Sequence[int], where: str) -> Layout:
        """Return the layout for a shared graph with these inputs and slots.

        Raises:
            EngineError: an input of the bank is absent, or they differ in dtype or width.
        """
        names = bank.bank_names(slots)
        missing = [name for name in names if name not in inputs]
        if missing or not names:
            raise EngineError(f"{where}: has no input '{missing[0] if missing else 'of a bank'}'; {AGAIN}")
        dtype, width = inputs[names[0]].dtype, inputs[names[0]].shape[1]
        if not isinstance(width, int):
            raise EngineError(f"{where}: input '{names[0]}' has shape {list(inputs[names[0]].shape)}; {AGAIN}")
        for name, shape in bank.input_shapes(slots, width).items():
            found = inputs[name]
            fits = len(found.shape) == len(shape) and all(
                isinstance(size, str) or size == other for size, other in zip(shape, found.shape, strict=True)
            )
            if not fits or found.dtype != dtype:
                raise EngineError(
                    f"{where}: input '{name}' is {found.dtype} {list(found.shape)}, expected {dtype} {list(shape)}; "
                    f"{AGAIN}"
                )
        return cls(tuple(slots), width, dtype)

    @property
    def plain(self) -> dict[str, TensorInfo]:
        """The inputs that the plain graph has for a bank."""
        shapes = bank.input_shapes(self.slots, self.width)
        return {name: TensorInfo(name, self.dtype, shape) for name, shape in shapes.items()}

    def check(self, tensors: Mapping[str, AnyArray], rank: int) -> None:
        """Raise EngineError unless each of these tensors is one of a task of exactly this rank."""
        expected = bank.slot_shapes(self.slots, self.width, rank)
        for name, value in tensors.items():
            if name not in expected:
                raise EngineError(f"a slot has no tensor '{name}'")
            if value.shape != expected[name]:
                raise EngineError(f"tensor '{name}' has shape {list(value.shape)}, a slot {list(expected[name])}")

    def rank(self, shapes: Mapping[str, tuple[int, ...]]) -> int:
        """Return the rank of one task's shapes.

        Raises:
            EngineError: they are not core.adapter.bank.slot_shapes of this graph.
        """
        bias = shapes.get(tensor_name(self.slots[0], "down", "bias"), ())
        if len(bias) != 1 or bias[0] < 1 or dict(shapes) != bank.slot_shapes(self.slots, self.width, bias[0]):
            raise EngineError("these are not the shapes of one task's tensors of this graph")
        return bias[0]


def gathers(graph: WireGraph, slots: Sequence[int], where: str) -> dict[str, int]:
    """Return which node gathers the rows' tasks of each of the bank's tensors.

    Raises:
        EngineError: a tensor is read otherwise than by one Gather over its slots with `task`, as export writes it.
    """
    readers: dict[str, list[int]] = {name: [] for name in bank.bank_names(slots)}
    for index, node in enumerate(graph.nodes):
        for name in node.inputs:
            if name in readers:
                readers[name].append(index)
    for name, found in readers.items():
        if len(found) != 1 or not _is_gather(graph.nodes[found[0]]):
            raise EngineError(
                f"{where}: '{name}' is not read by one Gather with '{bank.TASK}', as export writes it; {AGAIN}"
            )
    return {name: index for name, (index,) in readers.items()}


def _is_gather(node: WireNode) -> bool:
    return node.operator == "Gather" and node.inputs[1:] == (bank.TASK,) and node.attributes.get("axis", 0) == 0
