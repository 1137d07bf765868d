"""The bank's biases gathered as columns, derived when ONNX Runtime opens the shared graph on a CPU.

The shared graph takes each row's bias out of [T, n] and then puts an axis of tokens in, [B, 1, n]: two nodes for each
bias. With the tasks as a column [B, 1] a Gather alone gives the same bytes.
"""

from __future__ import annotations

from collections import Counter

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.engines.onnx.nodes import INT64, WireGraph, WireNode


def columns(graph: WireGraph, prefix: str) -> dict[int, list[WireNode]]:
    """Return what takes the place of which nodes; nothing where no bias is gathered as export writes it.

    Args:
        graph: as it was read.
        prefix: of the name that is added.
    """
    makers = {name: index for index, node in enumerate(graph.nodes) for name in node.outputs}
    readers = Counter(name for node in graph.nodes for name in node.inputs)
    column = f"{prefix}task.column"
    instead: dict[int, list[WireNode]] = {}
    for index, node in enumerate(graph.nodes):
        if not _is(node, "Unsqueeze") or not _is_one(graph, node.inputs[1]):
            continue
        gather = makers.get(node.inputs[0], -1)
        if gather < 0 or not _gathers_bank(graph, graph.nodes[gather]):
            continue
        if readers[node.inputs[0]] > 1 or node.inputs[0] in graph.outputs:
            continue
        made = graph.nodes[gather]
        tasks = [] if instead else [WireNode("Unsqueeze", (bank.TASK, node.inputs[1]), (column,), name=column)]
        attributes = {"axis": 0}
        instead[gather] = [
            *tasks,
            WireNode("Gather", (made.inputs[0], column), node.outputs, "", made.name, attributes),
        ]
        instead[index] = []
    return instead


def _is(node: WireNode, operator: str) -> bool:
    return (node.operator, node.domain, len(node.inputs), len(node.outputs)) == (operator, "", 2, 1)


def _is_one(graph: WireGraph, name: str) -> bool:
    """Return whether a constant is the axes [1]."""
    tensor = graph.tensors.get(name)
    return tensor is not None and name not in graph.inputs and (tensor.kind, tensor.values) == (INT64, (1,))


def _gathers_bank(graph: WireGraph, node: WireNode) -> bool:
    return (
        _is(node, "Gather")
        and node.inputs[0] in graph.inputs
        and node.inputs[1] == bank.TASK
        and bank.TASK in graph.inputs
        and node.attributes.get("axis", 0) == 0
    )
