"""The bank as three tensors, derived from the shared graph when an engine opens it that pays for every node.

On a GPU what a graph launches is what it costs, and OpenVINO takes microseconds for a node: four tensors a block are 48
gathers a run, and 48 copies a task. Here all blocks' tensors of one shape are one input, over T slots and L adapted
blocks, in which a task's rows lie side by side:

    atd.bank.weights [2 T L, r, D]   row 2 (t L + l): the down weight, turned, of slot t in the l-th adapted block;
                                     the row after it: its up weight
    atd.bank.down    [T L, r]        row t L + l: the down bias
    atd.bank.up      [T L, D]        row t L + l: the up bias

so that a run gathers three times and a task is written by three copies. The gathered rows have the block for their
first axis: what a block takes lies in one piece, which OpenVINO hands on without a copy. No shape is computed and none
is sliced along T or r, which stay dynamic: TensorRT makes thirty layers out of such a Slice. The numbers are the plain
graph's own, the file on disk is never changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.core.adapter.identity import tensor_name
from adaptertune_deploy.engines.bank.layout import BankLayout, gathers
from adaptertune_deploy.engines.engine import AnyArray, TensorInfo
from adaptertune_deploy.engines.onnx import nodes as onnx_nodes
from adaptertune_deploy.engines.onnx import signature as onnx_signature
from adaptertune_deploy.engines.onnx.nodes import Changes, WireNode

WEIGHTS, DOWN, UP = PACKED = ("atd.bank.weights", "atd.bank.down", "atd.bank.up")


@dataclass(frozen=True)
class PackedBank(BankLayout):
    """Where a task's tensors lie in its rows of the packed bank."""

    @property
    def infos(self) -> dict[str, TensorInfo]:
        """The packed inputs; the first axis of each is dynamic, and so is r."""
        shapes: dict[str, tuple[int | str, ...]] = {
            WEIGHTS: ("2TL", "r", self.width),
            DOWN: ("TL", "r"),
            UP: ("TL", self.width),
        }
        return {name: TensorInfo(name, self.dtype, shape) for name, shape in shapes.items()}

    def shapes(self, tasks: int, rank: int) -> dict[str, tuple[int, ...]]:
        """Return the packed inputs' shapes for so many tasks of this rank."""
        rows = tasks * len(self.slots)
        return {WEIGHTS: (2 * rows, rank, self.width), DOWN: (rows, rank), UP: (rows, self.width)}

    def fill(self, rows: Mapping[str, AnyArray], tensors: Mapping[str, AnyArray]) -> None:
        """Write one task's rows; what it lacks, and ranks beyond its own, become zeros.

        Args:
            rows: arrays of shapes(1, r).
            tensors: name -> array of core.adapter.bank.slot_shapes, of rank r or less.
        """
        for array in rows.values():
            array[...] = 0
        for name, place in self._places(rows).items():
            if name in tensors:
                value = tensors[name]
                place[tuple(slice(size) for size in value.shape)] = value

    def stack(self, tensors: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
        """Return a bank of several tasks as the packed inputs.

        Args:
            tensors: as core.adapter.bank.stack gives them, in the layout's dtype.

        Raises:
            EngineError: they are not those of a bank of this graph.
        """
        rank = self.rank({name: array.shape[1:] for name, array in tensors.items()})
        tasks = len(next(iter(tensors.values())))
        result: dict[str, AnyArray] = {
            name: np.empty(shape, self.dtype) for name, shape in self.shapes(tasks, rank).items()
        }
        for task in range(tasks):
            rows = {name: array.reshape(tasks, -1, *array.shape[1:])[task] for name, array in result.items()}
            self.fill(rows, {name: array[task] for name, array in tensors.items()})
        return result

    def take(self, rows: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
        """Return one task's tensors, as `fill` takes them: parts of these rows."""
        return self._places(rows)

    def _places(self, rows: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
        places: dict[str, AnyArray] = {}
        for row, block in enumerate(self.slots):
            places[tensor_name(block, "down", "weight")] = rows[WEIGHTS][2 * row].T
            places[tensor_name(block, "down", "bias")] = rows[DOWN][row]
            places[tensor_name(block, "up", "weight")] = rows[WEIGHTS][2 * row + 1]
            places[tensor_name(block, "up", "bias")] = rows[UP][row]
        return places


def pack(data: bytes, layout: PackedBank, where: str) -> bytes:
    """Return the shared graph with the packed bank for its input.

    Args:
        data: the bytes of an ONNX file that engines.onnx.plain_graph accepts.
        layout: of its bank.
        where: the file, for messages.

    Raises:
        EngineError: see bank_layout.gathers.
    """
    graph = onnx_nodes.read(data)
    places = gathers(graph, layout.slots, where)
    constants: dict[str, int | Sequence[int]] = {}
    nodes: dict[int, Sequence[WireNode]] = {}
    for row, block in enumerate(layout.slots):
        for name, (source, place) in _sources(block, row).items():
            turned = name == tensor_name(block, "down", "weight")
            gather = places[name]
            nodes[gather] = _block_rows(graph.nodes[gather], source, place, turned, constants)
    first = min(nodes)
    nodes[first] = [*_task_rows(len(layout.slots), constants), *nodes[first]]
    added = [onnx_signature.value_info(info) for info in layout.infos.values()]
    return onnx_nodes.replace(graph, Changes(nodes, constants, None, frozenset(places), added))


def _sources(block: int, row: int) -> dict[str, tuple[str, int]]:
    """Return tensor -> the packed input that holds it, and its row among a task's."""
    return {
        tensor_name(block, "down", "weight"): (WEIGHTS, 2 * row),
        tensor_name(block, "down", "bias"): (DOWN, row),
        tensor_name(block, "up", "weight"): (WEIGHTS, 2 * row + 1),
        tensor_name(block, "up", "bias"): (UP, row),
    }


def _rows_of(source: str) -> str:
    return f"{source}.rows"


def _task_rows(blocks: int, constants: dict[str, int | Sequence[int]]) -> list[WireNode]:
    """Return the nodes that gather every row's task: [2 L, B, r, D], [L, B, r] and [L, B, D]."""
    constants |= {"atd.axis": [1]}
    nodes = []
    for count, sources in ((2 * blocks, (WEIGHTS,)), (blocks, (DOWN, UP))):
        step, places = f"atd.step.{count}", f"atd.places.{count}"
        constants |= {step: count, places: range(count)}
        nodes += [
            WireNode("Mul", (bank.TASK, step), (f"{step}.first",), name=f"{step}.first"),
            WireNode("Unsqueeze", (places, "atd.axis"), (f"{places}.turned",), name=f"{places}.turned"),
            WireNode("Add", (f"{places}.turned", f"{step}.first"), (f"{places}.rows",), name=f"{places}.rows"),
        ]
        for source in sources:
            rows = _rows_of(source)
            nodes.append(WireNode("Gather", (source, f"{places}.rows"), (rows,), name=rows, attributes={"axis": 0}))
    return nodes


def _block_rows(
    node: WireNode, source: str, place: int, turned: bool, constants: dict[str, int | Sequence[int]]
) -> list[WireNode]:
    """Return the nodes that take one tensor of the gathered rows, in place of the node that gathered it."""
    index = f"atd.place.{place}"
    constants[index] = place
    (result,) = node.outputs
    taken = f"{result}.rows" if turned else result
    nodes = [WireNode("Gather", (_rows_of(source), index), (taken,), name=f"{result}.taken", attributes={"axis": 0})]
    if turned:
        nodes.append(WireNode("Transpose", (taken,), (result,), name=node.name, attributes={"perm": (0, 2, 1)}))
    return nodes
