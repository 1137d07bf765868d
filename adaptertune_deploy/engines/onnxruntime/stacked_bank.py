"""The bank as four tensors, derived when ONNX Runtime opens the shared graph on a CPU.

ONNX Runtime takes microseconds for a node and one for an input. Four tensors a block, of which each bias needs an axis
of tokens besides, are 48 inputs and 72 nodes for a dozen blocks. Here tensors of one kind are one input, over T slots,
in which those of the L adapted blocks lie one behind another:

    atd.bank.down.weight [T, L D, r]        atd.bank.down.bias [T, L, r]
    atd.bank.up.weight   [T, L r, D]        atd.bank.up.bias   [T, L, D]

One Gather takes the rows' tasks of each, and one Split along the second axis makes what the blocks take of it: weights
[B, D, r] and [B, r, D], biases [B, 1, r] and [B, 1, D]. The numbers are the plain graph's own, and so is every answer,
to the bit. A run holds its rows' tensors of all blocks at once, where the plain graph holds a block's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.core.adapter.identity import tensor_name
from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.engines.bank.layout import AGAIN, BankLayout, gathers
from adaptertune_deploy.engines.engine import AnyArray, TensorInfo
from adaptertune_deploy.engines.onnx import signature as onnx_signature
from adaptertune_deploy.engines.onnx.nodes import INT64, Changes, WireGraph, WireNode

KINDS = DOWN_WEIGHT, DOWN_BIAS, UP_WEIGHT, UP_BIAS = (
    ("down", "weight"),
    ("down", "bias"),
    ("up", "weight"),
    ("up", "bias"),
)
STACKED = {kind: f"atd.bank.{'.'.join(kind)}" for kind in KINDS}


@dataclass(frozen=True)
class StackedBank(BankLayout):
    """Where a task's tensors lie in its slot of the four inputs."""

    @property
    def infos(self) -> dict[str, TensorInfo]:
        """The four inputs; T and r are dynamic."""
        blocks, width = len(self.slots), self.width
        shapes: dict[tuple[str, str], tuple[int | str, ...]] = {
            DOWN_WEIGHT: ("T", blocks * width, "r"),
            DOWN_BIAS: ("T", blocks, "r"),
            UP_WEIGHT: ("T", "Lr", width),
            UP_BIAS: ("T", blocks, width),
        }
        return {STACKED[kind]: TensorInfo(STACKED[kind], self.dtype, shape) for kind, shape in shapes.items()}

    def shapes(self, rank: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes of one slot of the four inputs."""
        sizes = {"Lr": len(self.slots) * rank, "r": rank}
        return {
            name: tuple(sizes[size] if isinstance(size, str) else size for size in info.shape[1:])
            for name, info in self.infos.items()
        }

    def views(self, stacked: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
        """Return the tensors by the plain graph's names, [T, ...] each, as parts of the four inputs' arrays."""
        rank = stacked[STACKED[DOWN_BIAS]].shape[2]
        found: dict[str, AnyArray] = {}
        for place, block in enumerate(self.slots):
            for kind in KINDS:
                array, rows = stacked[STACKED[kind]], {DOWN_WEIGHT: self.width, UP_WEIGHT: rank}.get(kind)
                part = array[:, place] if rows is None else array[:, place * rows : (place + 1) * rows]
                found[tensor_name(block, *kind)] = part
        return found

    def stack(self, tensors: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
        """Return a bank of several tasks as the four inputs.

        Args:
            tensors: as core.adapter.bank.stack gives them, in the layout's dtype.

        Raises:
            EngineError: they are not those of a bank of this graph.
        """
        rank, tasks = (
            self.rank({name: array.shape[1:] for name, array in tensors.items()}),
            {*map(len, tensors.values())},
        )
        if len(tasks) != 1:
            raise EngineError("the bank's tensors differ in how many tasks they hold")
        (count,) = tasks
        stacked: dict[str, AnyArray] = {
            name: np.empty((count, *shape), self.dtype) for name, shape in self.shapes(rank).items()
        }
        for name, view in self.views(stacked).items():
            view[...] = tensors[name]
        return stacked


def stacking(graph: WireGraph, layout: StackedBank, where: str) -> Changes:
    """Return what gives a shared graph the four inputs for its bank.

    Args:
        graph: as it was read.
        layout: of its bank.
        where: the file, for messages.

    Raises:
        EngineError: the bank is not read as export has it read: by one Gather each, and behind that of a bias by an
            axis of tokens alone.
    """
    places = gathers(graph, layout.slots, where)
    nodes: dict[int, list[WireNode]] = {index: [] for index in places.values()}
    axes = _token_axes(graph)
    for kind in KINDS:
        parts: list[str] = []
        for block in layout.slots:
            name = tensor_name(block, *kind)
            (part,) = graph.nodes[places[name]].outputs
            if kind in (DOWN_BIAS, UP_BIAS):
                if part not in axes:
                    raise EngineError(f"{where}: '{name}' is not read as one row for all tokens; {AGAIN}")
                nodes[axes[part]] = []
                (part,) = graph.nodes[axes[part]].outputs
            parts.append(part)
        nodes[min(places.values())] += _taken(STACKED[kind], tuple(parts))
    added = [onnx_signature.value_info(info) for info in layout.infos.values()]
    return Changes(nodes, inputs=frozenset(places), added=added)


def _taken(source: str, parts: tuple[str, ...]) -> list[WireNode]:
    """Return the nodes that take the rows' tasks out of one input and cut them into what the blocks take."""
    rows = f"{source}.rows"
    gather = WireNode("Gather", (source, bank.TASK), (rows,), name=rows, attributes={"axis": 0})
    cut = {"axis": 1, "num_outputs": len(parts)}
    return [gather, WireNode("Split", (rows,), parts, name=f"{source}.blocks", attributes=cut)]


def _token_axes(graph: WireGraph) -> dict[str, int]:
    """Return which node puts the axis of tokens into a value [B, n] that nobody else reads."""
    readers: dict[str, list[int]] = {}
    for index, node in enumerate(graph.nodes):
        for name in node.inputs:
            readers.setdefault(name, []).append(index)
    return {
        name: index
        for name, (index, *others) in readers.items()
        if not others and name not in graph.outputs and _puts_one_in(graph, graph.nodes[index], name)
    }


def _puts_one_in(graph: WireGraph, node: WireNode, name: str) -> bool:
    """Return whether a node is Unsqueeze of this value with the constant axes [1]."""
    if (node.operator, node.domain, len(node.inputs), len(node.outputs)) != ("Unsqueeze", "", 2, 1):
        return False
    axes = graph.tensors.get(node.inputs[1])
    constant = axes is not None and node.inputs[1] not in graph.inputs and (axes.kind, axes.values) == (INT64, (1,))
    return node.inputs[0] == name and constant
