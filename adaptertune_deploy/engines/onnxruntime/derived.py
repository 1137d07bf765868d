"""What is made of a bundle's graph before ONNX Runtime runs it on a CPU; the file on disk is never changed.

Attention becomes an operator of ONNX Runtime's own (engines.onnxruntime.attention), and the bank of a shared graph four
inputs (engines.onnxruntime.stacked_bank). What is not of export's form stays as it is.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.core.bundle import graph_facts
from adaptertune_deploy.core.errors import EngineError, FormatError
from adaptertune_deploy.engines.onnx import nodes as onnx_nodes
from adaptertune_deploy.engines.onnx import signature as onnx_signature
from adaptertune_deploy.engines.onnx.nodes import Changes, WireGraph
from adaptertune_deploy.engines.onnxruntime.attention import fusing
from adaptertune_deploy.engines.onnxruntime.fused_attention import DOMAIN, PREFIX
from adaptertune_deploy.engines.onnxruntime.stacked_bank import StackedBank, stacking

OPSETS = range(18, 23)  # Split has num_outputs; Softmax, Reshape and the others mean the same in all of these

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Derived:
    """A graph to open.

    graph: its bytes; the file's own where nothing was made of them.
    bank: where a task's tensors go; None where the bank, if there is one, is the file's own.
    own: whether it has operators of ONNX Runtime's own.
    """

    graph: bytes
    bank: StackedBank | None = None
    own: bool = False


def derive(data: bytes, where: str, own: bool = True, threads: int = 1) -> Derived:
    """Return the graph that is opened in place of a file's.

    Args:
        data: the bytes of an ONNX file that engines.onnx.plain_graph accepts.
        where: the file, for messages.
        own: whether operators of ONNX Runtime's own may be in it.
        threads: of the session that runs it; of several the most.
    """
    try:
        graph = onnx_nodes.read(data)
    except ValueError:
        return Derived(data)  # whoever reads it next says what is wrong
    if graph.opset not in OPSETS or DOMAIN in graph.domains or _has_names_of_ours(graph):
        return Derived(data)
    fused = fusing(graph, threads) if own else None
    layout, stacked = _stacked(graph, where)
    changes = [found for found in (fused, stacked) if found is not None]
    if not changes:
        return Derived(data)
    return Derived(onnx_nodes.replace(graph, _joined(changes)), layout, fused is not None)


def _stacked(graph: WireGraph, where: str) -> tuple[StackedBank | None, Changes | None]:
    """Return the stacked bank and what makes it; nothing for a graph without a bank, or with one of another form."""
    if bank.TASK not in graph.inputs:
        return None, None
    try:
        signature = onnx_signature.read(graph.data, where)
        slots = graph_facts.from_metadata(signature.metadata, where).slots
        layout = StackedBank.of(signature.inputs, slots, where)
        return layout, stacking(graph, layout, where)
    except (EngineError, FormatError) as error:
        logger.debug("stacked bank: %s", error)
        return None, None


def _joined(changes: Sequence[Changes]) -> Changes:
    """Return changes to different nodes as one."""
    return Changes(
        nodes={index: nodes for change in changes for index, nodes in change.nodes.items()},
        constants={name: value for change in changes for name, value in change.constants.items()},
        domain=next((change.domain for change in changes if change.domain is not None), None),
        inputs=frozenset(name for change in changes for name in change.inputs),
        added=[info for change in changes for info in change.added],
    )


def _has_names_of_ours(graph: WireGraph) -> bool:
    names = {name for node in graph.nodes for name in (node.name, *node.outputs)}
    return any(name.startswith(PREFIX) for name in names | graph.inputs | graph.tensors.keys())
