"""The merged form: one task's adapters and head in one self-contained graph, `images` [N, 3, H, W] -> `logits` [N, C].

"Merged" means one file: the GELU keeps an adapter from being folded into the block's own weights. Nothing is traced
here and no torch is needed: where the shared graph gathers a task's tensors from the bank, the merged one holds them
in graph layout ([in, out], alpha and temperature folded in). An adapter is MatMul, Add, Gelu, MatMul, Add, Add; a block
that the task leaves alone is the backbone's own; the head is one Gemm. Another task's merged graph serves as well as
the shared one where it adapts the same blocks or more, and gives the same bytes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import onnx

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.core.adapter.folder import Adapter
from adaptertune_deploy.core.adapter.identity import tensor_name
from adaptertune_deploy.core.bundle import graph_facts
from adaptertune_deploy.core.bundle.graph_facts import GraphFacts
from adaptertune_deploy.core.errors import ExportError
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.export import onnx_file
from adaptertune_deploy.export.onnx_file import AnyArray, OnnxFile, array, converted

HEAD = onnx.helper.make_node(
    "Gemm", [bank.FEATURES, bank.HEAD_WEIGHT, bank.HEAD_BIAS], [bank.LOGITS], name="head.Gemm", alpha=1.0, beta=1.0
)
FLOAT = int(onnx.TensorProto.FLOAT)
BRANCH = ("MatMul", "Add", "Gelu", "MatMul", "Add", "Add")


def merged_graph(source: bytes | onnx.ModelProto, adapter: Adapter, facts: GraphFacts) -> bytes:
    """Return the ONNX file of one task.

    Args:
        source: the shared graph, or the merged graph of a task that adapts the same blocks or more; a ModelProto is
            left as it is.
        adapter: the task with its tensors.
        facts: what the graph says about itself: the task, and its blocks for slots.

    Raises:
        ExportError: `source` is a graph of another backbone, lacks a block that the task adapts, or isn't a graph of
            this project's; the merged graph is too large for one file; a tensor is too large for its precision.
        FormatError: `source` says nothing about itself, or a tensor overflows float32.
    """
    if facts.task != adapter.task or facts.slots != adapter.task.adapter.blocks:
        raise ValueError(f"the facts are of task {facts.task}, expected {adapter.task}")
    file = onnx_file.read(source if isinstance(source, bytes) else source.SerializeToString(), "the source graph")
    model, graph = file.model, file.model.graph
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    said = graph_facts.from_metadata(metadata, "the source graph")
    precision = graph_facts.precision_of(metadata, "the source graph")
    _check_source(said, facts)
    nodes, kinds = _fill(graph) if said.task is None else _without_head(file)
    tensors = {name: _held_in(kinds.get(name, FLOAT), name, tensor) for name, tensor in bank.folded(adapter).items()}
    nodes = _without_branches(nodes, set(said.slots) - set(facts.slots))
    _replace(graph.node, [*nodes, HEAD])
    _replace(graph.input, [entry for entry in graph.input if entry.name == bank.IMAGES])
    classes = len(adapter.task.labels)
    logits = onnx.helper.make_tensor_value_info(bank.LOGITS, onnx.TensorProto.FLOAT, ["N", classes])
    _replace(graph.output, [logits])
    names = (*bank.bank_names(facts.slots), bank.HEAD_WEIGHT, bank.HEAD_BIAS)
    read = {name for node in graph.node for name in node.input}
    kept = {name: tensor for name, tensor in file.tensors.items() if name in read and name not in tensors}
    onnx_file.set_metadata(model, graph_facts.to_metadata(facts, precision))
    held = OnnxFile(model, kept | {name: tensors[name] for name in names})
    return onnx_file.write(held, facts.backbone.name)


def _held_in(kind: int, name: str, tensor: Array) -> AnyArray:
    with np.errstate(over="ignore"):
        result = converted(tensor, kind)
    if result is not tensor and not np.isfinite(result.astype(np.float32)).all():
        largest = f"{np.abs(tensor).max():.3g}"
        raise ExportError(f"tensor '{name}' holds {largest}, more than {result.dtype} can; choose another --precision")
    return result


def _check_source(said: GraphFacts, facts: GraphFacts) -> None:
    ours, theirs = (f"{spec.name} {spec.sha256[:12]}" for spec in (facts.backbone, said.backbone))
    if said.backbone != facts.backbone:
        raise ExportError(f"the source graph is of backbone {theirs}, the task of {ours}; run atd export again")
    missing = [block for block in facts.slots if block not in said.slots]
    if missing and facts.task is not None:
        raise ExportError(
            f"task '{facts.task.name}' adapts block {missing[0]}, but the source graph adapts blocks "
            f"{', '.join(map(str, said.slots)) or 'none'} only; make it out of a shared graph that has it"
        )


def _fill(graph: onnx.GraphProto) -> tuple[list[onnx.NodeProto], dict[str, int]]:
    """Return the shared graph's nodes without its gathers: who read one reads the tensor, and every row its image.

    With them come the element types in which the tensors are read: a Cast behind a gather is done once, here.
    """
    inputs = {entry.name: entry.type.tensor_type.elem_type for entry in graph.input}
    held = {name: kind for name, kind in inputs.items() if name not in (bank.IMAGES, bank.IMAGE, bank.TASK)}
    instead: dict[str, str] = {}
    nodes = []
    for node in graph.node:
        source, *rest = node.input
        source = instead.get(source, source)
        gathers = node.op_type == "Gather" and rest[0] in (bank.IMAGE, bank.TASK)
        if gathers or (node.op_type in ("Cast", "Unsqueeze") and source in held):
            instead[node.output[0]] = source
            if node.op_type == "Cast":
                held[source] = node.attribute[0].i
        else:
            nodes.append(_rows_of_images(node) if node.op_type == "Shape" and source == bank.IMAGE else node)
    return _reading(nodes, instead), held


def _without_head(file: OnnxFile) -> tuple[list[onnx.NodeProto], dict[str, int]]:
    """Return a merged graph's nodes but its head, and the element types of its tensors."""
    nodes = [node for node in file.model.graph.node if node.output[0] != bank.LOGITS]
    types = {name: array(tensor).dtype for name, tensor in file.tensors.items()}
    return nodes, {name: int(onnx.helper.np_dtype_to_tensor_dtype(dtype)) for name, dtype in types.items()}


def _rows_of_images(node: onnx.NodeProto) -> onnx.NodeProto:
    """Let a Shape that counts the rows count the images instead: each image is one row."""
    return onnx.helper.make_node("Shape", [bank.IMAGES], list(node.output), name=node.name, start=0, end=1)


def _without_branches(nodes: list[onnx.NodeProto], blocks: Iterable[int]) -> list[onnx.NodeProto]:
    """Return the nodes without the adapters after these blocks: who reads such a sum reads the block's own output.

    Raises:
        ExportError: one isn't the adapter that export writes.
    """
    readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    makers = {name: node for node in nodes for name in node.output}
    for node in nodes:
        for name in node.input:
            readers[name].append(node)
    gone: set[str] = set()
    instead: dict[str, str] = {}
    for block in blocks:
        branch = _branch(readers, tensor_name(block, "down", "weight"))
        own = [node for node in branch if node.op_type != "Cast"]
        stream = "" if not own else next(name for name in own[-1].input if name != branch[-2].output[0])
        alike = bool(own) and _origin(makers, stream) == _origin(makers, own[0].input[0])
        if tuple(node.op_type for node in own) != BRANCH or not alike:
            raise ExportError(
                f"the source graph's adapter after block {block} is not one of ours; run atd export again"
            )
        gone |= {node.output[0] for node in branch}
        instead[own[-1].output[0]] = stream
    left = _reading([node for node in nodes if node.output[0] not in gone], instead)
    read = {name for node in left for name in node.input} | {bank.FEATURES}
    return [node for node in left if node.op_type != "Cast" or node.output[0] in read]


def _branch(readers: Mapping[str, list[onnx.NodeProto]], weight: str) -> list[onnx.NodeProto]:
    """Return the nodes from the product with a weight on, each the only reader of the one before, Casts among them."""
    branch = list(readers[weight])
    while branch and sum(node.op_type != "Cast" for node in branch) < len(BRANCH):
        following = readers[branch[-1].output[0]]
        if len(following) != 1:
            break
        branch += following
    return branch


def _origin(makers: Mapping[str, onnx.NodeProto], name: str) -> str:
    """Return what a value was before it was cast."""
    while name in makers and makers[name].op_type == "Cast":
        name = makers[name].input[0]
    return name


def _reading(nodes: list[onnx.NodeProto], instead: Mapping[str, str]) -> list[onnx.NodeProto]:
    """Let nodes read other values than they did."""
    for node in nodes:
        for place, name in enumerate(node.input):
            if name in instead:
                node.input[place] = instead[name]
    return nodes


def _replace(field: Any, messages: Iterable[Any]) -> None:
    """Let a repeated field hold these messages, which may be its own."""
    held = list(messages)
    del field[:]
    field.extend(held)
