"""An ONNX file's nodes, read and replaced without the onnx package; its tensors stay where they are.

Only what a rewrite of nodes needs is read: nodes with their attributes, the names of inputs and outputs, and for each
initialiser its name, type and sizes. The new file is put together out of pieces of the old one, so that what nobody
replaced, weights above all, is copied once and byte by byte. Field numbers:
github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from adaptertune_deploy.engines.onnx import declared
from adaptertune_deploy.engines.onnx.wire_format import (
    FIXED32,
    LENGTH_DELIMITED,
    VARINT,
    fields,
    signed,
    varints,
    write,
    write_key,
)

FLOAT, INT8, INT64 = 1, 3, 7  # TensorProto.DataType
MODEL_OPSET, MODEL_GRAPH = 8, 7
GRAPH_NODE, GRAPH_INITIALIZER, GRAPH_INPUT, GRAPH_OUTPUT = 1, 5, 11, 12
FEW = 16  # elements of an initialiser whose values can be asked for
STANDARD = ("", "ai.onnx")
Attribute = int | float | str | tuple[int, ...]


@dataclass(frozen=True)
class WireNode:
    """One node. attributes: numbers, text and lists of integers; None for an attribute that holds anything else."""

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    domain: str = ""
    name: str = ""
    attributes: Mapping[str, Attribute | None] = field(default_factory=dict)


@dataclass(frozen=True)
class WireTensor:
    """One initialiser. kind: FLOAT, INT64 or another. values: those of a small tensor of either kind, else None."""

    kind: int
    dims: tuple[int, ...]
    values: tuple[float, ...] | None


@dataclass(frozen=True, eq=False)
class WireGraph:
    """What is read of a file.

    data: the file's bytes.
    span: where the graph lies in them.
    opset: the standard operators' version.
    domains: every domain that the file imports operators from.
    places: where each node lies, from its key on.
    tensors: initialisers by name.
    inputs, outputs: names.
    """

    data: bytes
    span: tuple[int, int]
    opset: int
    domains: frozenset[str]
    nodes: Sequence[WireNode]
    places: Sequence[tuple[int, int]]
    tensors: Mapping[str, WireTensor]
    inputs: frozenset[str]
    outputs: frozenset[str]


def read(data: bytes) -> WireGraph:
    """Return a file's nodes.

    Raises:
        ValueError: not an ONNX file with one graph.
    """
    graphs, imports = [], {}
    for number, kind, _, value, stop in fields(data, 0, len(data)):
        if number == MODEL_GRAPH and kind == LENGTH_DELIMITED:
            graphs.append((value, stop))
        elif number == MODEL_OPSET and kind == LENGTH_DELIMITED:
            found = _scalars(data, value, stop)
            imports[_text(found.get(1, b""))] = found.get(2, 0)
    if len(graphs) != 1:
        raise ValueError(f"{len(graphs)} graphs")
    nodes, places, tensors = [], [], {}
    names: dict[int, set[str]] = {GRAPH_INPUT: set(), GRAPH_OUTPUT: set()}
    for number, kind, begin, value, stop in fields(data, *graphs[0]):
        if kind != LENGTH_DELIMITED:
            continue
        if number == GRAPH_NODE:
            nodes.append(_node(data, value, stop))
            places.append((begin, stop))
        elif number == GRAPH_INITIALIZER:
            name, tensor = _tensor(data, value, stop)
            tensors[name] = tensor
        elif number in names:
            names[number].add(_text(_scalars(data, value, stop).get(1, b"")))
    opset = next((version for domain, version in imports.items() if domain in STANDARD), 0)
    return WireGraph(
        data,
        graphs[0],
        opset if isinstance(opset, int) else 0,
        frozenset(imports),
        nodes,
        places,
        tensors,
        frozenset(names[GRAPH_INPUT]),
        frozenset(names[GRAPH_OUTPUT]),
    )


@dataclass(frozen=True)
class Changes:
    """What `replace` puts into a file.

    nodes: index of a node -> the nodes that take its place; none drop it.
    constants: name -> int64 numbers of an initialiser [n] to add, or the number of a scalar.
    domain: a domain to import, in its version 1, that the file does not import yet; None for none.
    inputs: names of inputs to drop.
    added: ValueInfoProto bytes of inputs to add.
    """

    nodes: Mapping[int, Sequence[WireNode]]
    constants: Mapping[str, int | Sequence[int]] = field(default_factory=dict)
    domain: str | None = None
    inputs: frozenset[str] = frozenset()
    added: Sequence[bytes] = ()


def replace(graph: WireGraph, changes: Changes) -> bytes:
    """Return the file with other nodes, constants and inputs."""
    view = memoryview(graph.data)
    start, stop = graph.span
    spans = {graph.places[index]: nodes for index, nodes in changes.nodes.items()}
    if changes.inputs:
        spans |= dict.fromkeys(_inputs_named(graph, changes.inputs), ())
    pieces: list[bytes | memoryview] = []
    place = start
    for (begin, end), nodes in sorted(spans.items(), key=lambda entry: entry[0]):
        pieces += [view[place:begin], *(write(GRAPH_NODE, _node_bytes(node)) for node in nodes)]
        place = end
    pieces.append(view[place:stop])
    pieces += [write(GRAPH_INITIALIZER, _tensor_bytes(name, values)) for name, values in changes.constants.items()]
    pieces += [write(GRAPH_INPUT, info) for info in changes.added]
    opset = b"" if changes.domain is None else write(MODEL_OPSET, write(1, changes.domain) + write(2, 1))
    key = next(begin for _, _, begin, _, end in fields(view, 0, len(view)) if end == stop)
    head = write_key(MODEL_GRAPH, sum(map(len, pieces)))
    return b"".join([view[:key], head, *pieces, view[stop:], opset])


def _inputs_named(graph: WireGraph, names: frozenset[str]) -> list[tuple[int, int]]:
    """Return where the inputs of these names lie, from their keys on."""
    return [
        (begin, stop)
        for number, kind, begin, value, stop in fields(graph.data, *graph.span)
        if number == GRAPH_INPUT and kind == LENGTH_DELIMITED
        if _text(_scalars(graph.data, value, stop).get(1, b"")) in names
    ]


def _node(data: bytes, start: int, end: int) -> WireNode:
    inputs: list[str] = []
    outputs: list[str] = []
    attributes = {}
    texts = {3: "", 4: "", 7: ""}
    for number, kind, _, value, stop in fields(data, start, end):
        if kind != LENGTH_DELIMITED:
            continue
        if number in (1, 2):
            (inputs if number == 1 else outputs).append(_text(data[value:stop]))
        elif number in texts:
            texts[number] = _text(data[value:stop])
        elif number == 5:
            name, attribute = _attribute(data, value, stop)
            attributes[name] = attribute
    domain = "" if texts[7] in STANDARD else texts[7]
    return WireNode(texts[4], tuple(inputs), tuple(outputs), domain, texts[3], attributes)


def _attribute(data: bytes, start: int, end: int) -> tuple[str, Attribute | None]:
    """Return an attribute's name and value; None for one that is no single number, text or list of integers."""
    name, found, integers = "", [], []
    for number, kind, _, value, stop in fields(data, start, end):
        if number == 1 and kind == LENGTH_DELIMITED:
            name = _text(data[value:stop])
        elif number == 2 and kind == FIXED32:
            found.append(struct.unpack("<f", data[value:stop])[0])
        elif number == 3 and kind == VARINT:
            found.append(signed(value))
        elif number == 4 and kind == LENGTH_DELIMITED:
            found.append(data[value:stop].decode(errors="replace"))
        elif number == 8:
            integers += [signed(value)] if kind == VARINT else varints(data, value, stop)
        elif number not in (13, 20):  # the attribute's documentation and its type
            found.append(None)
    if integers:
        found.append(tuple(integers))
    return name, found[0] if len(found) == 1 else None


def _tensor(data: bytes, start: int, end: int) -> tuple[str, WireTensor]:
    """Return an initialiser's name and what is known of it."""
    found = declared.tensor(data, start, end)
    dims, raw, values = found.dims, found.raw, None
    form = {FLOAT: "f", INT64: "q"}.get(found.kind)
    if form and raw and len(dims) <= 1 and 0 <= (count := dims[0] if dims else 1) <= FEW:
        layout = f"<{count}{form}"
        if struct.calcsize(layout) == raw[1] - raw[0]:
            values = struct.unpack(layout, data[raw[0] : raw[1]])
    return found.name, WireTensor(found.kind, dims, values)


def _scalars(data: bytes, start: int, end: int) -> dict[int, bytes | int]:
    """Return a small message's numbers and bytes by field number."""
    return {
        number: data[value:stop] if kind == LENGTH_DELIMITED else value
        for number, kind, _, value, stop in fields(data, start, end)
        if kind in (VARINT, LENGTH_DELIMITED)
    }


def _text(data: bytes | int) -> str:
    return data.decode() if isinstance(data, bytes) else ""


def _node_bytes(node: WireNode) -> bytes:
    parts = [write(1, name) for name in node.inputs] + [write(2, name) for name in node.outputs]
    parts += [write(3, node.name), write(4, node.operator), write(7, node.domain)]
    parts += [write(5, _attribute_bytes(name, value)) for name, value in node.attributes.items()]
    return b"".join(parts)


def _attribute_bytes(name: str, value: Attribute | None) -> bytes:
    """Return an AttributeProto that holds an int, a float or integers.

    Raises:
        TypeError: another kind.
    """
    if isinstance(value, float):
        return write(1, name) + write(2, value) + write(20, 1)
    if isinstance(value, int):
        return write(1, name) + write(3, value) + write(20, 2)
    if isinstance(value, tuple):
        return write(1, name) + b"".join(write(8, entry) for entry in value) + write(20, 7)
    raise TypeError(f"attribute {name} is {type(value).__name__}, expected int, float or tuple")


def _tensor_bytes(name: str, values: int | Sequence[int]) -> bytes:
    dims, held = (b"", (values,)) if isinstance(values, int) else (write(1, len(values)), values)
    return dims + write(2, INT64) + write(8, name) + write(9, struct.pack(f"<{len(held)}q", *held))
