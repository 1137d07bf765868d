"""What an ONNX file says of itself, read without the onnx package: operators, tensors, inputs, outputs, metadata.

Field numbers: github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from adaptertune_deploy.engines.onnx import declared
from adaptertune_deploy.engines.onnx.wire_format import LENGTH_DELIMITED, VARINT, fields, texts

# TensorProto.DataType -> its name and the bits of one number
DTYPES: Mapping[int, tuple[str, int]] = {
    1: ("float32", 32),
    2: ("uint8", 8),
    3: ("int8", 8),
    4: ("uint16", 16),
    5: ("int16", 16),
    6: ("int32", 32),
    7: ("int64", 64),
    9: ("bool", 8),
    10: ("float16", 16),
    11: ("float64", 64),
    12: ("uint32", 32),
    13: ("uint64", 64),
    16: ("bfloat16", 16),
    17: ("float8e4m3fn", 8),
    19: ("float8e5m2", 8),
    21: ("uint4", 4),
    22: ("int4", 4),
    23: ("float4e2m1", 4),
}
OPSET, GRAPH, METADATA = 8, 7, 14  # of ModelProto
NODE, INITIALIZER, INPUT, OUTPUT = 1, 5, 11, 12  # of GraphProto
BLOCK = re.compile(r"blocks\.(\d+)\.(adapter\.)?")
OTHERS = "constants"


@dataclass(frozen=True)
class Value:
    """An input or output. shape: an int for a fixed dimension, the symbol's name for a dynamic one."""

    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class Weights:
    """The initialisers of one part of a network that are of one dtype. bytes: of their numbers."""

    part: str
    dtype: str
    tensors: int
    numbers: int
    bytes: int


@dataclass(frozen=True)
class OnnxSummary:
    """A file. opsets: domain -> version, "" the standard one; operators: name -> how many nodes, the most first."""

    ir_version: int
    opsets: Mapping[str, int]
    operators: Mapping[str, int]
    inputs: Mapping[str, Value]
    outputs: Mapping[str, Value]
    weights: tuple[Weights, ...]
    metadata: Mapping[str, str]


def summarise(data: bytes) -> OnnxSummary:
    """Return what a file says of itself.

    Raises:
        ValueError: not an ONNX file with one graph.
    """
    version = 0
    opsets: dict[str, int] = {}
    metadata: dict[str, str] = {}
    graphs = []
    for number, kind, _, value, stop in fields(data, 0, len(data)):
        if number == 1 and kind == VARINT:
            version = value
        elif kind == LENGTH_DELIMITED and number in (OPSET, METADATA):
            name, found = _pair(data, value, stop)
            if number == METADATA:
                metadata[name] = str(found)
            elif isinstance(found, int):
                opsets[name] = found
        elif kind == LENGTH_DELIMITED and number == GRAPH:
            graphs.append((value, stop))
    if len(graphs) != 1:
        raise ValueError(f"{len(graphs)} graphs")
    return OnnxSummary(version, opsets, *_graph(data, *graphs[0]), metadata)


def _graph(
    data: bytes, start: int, end: int
) -> tuple[Mapping[str, int], Mapping[str, Value], Mapping[str, Value], tuple[Weights, ...]]:
    """Return operators, inputs, outputs and weights."""
    operators: Counter[str] = Counter()
    held: dict[tuple[str, str], list[int]] = {}
    values: dict[int, dict[str, Value]] = {INPUT: {}, OUTPUT: {}}
    for number, kind, _, value, stop in fields(data, start, end):
        if kind != LENGTH_DELIMITED:
            continue
        if number == NODE:
            operators[_operator(data, value, stop)] += 1
        elif number == INITIALIZER:
            tensor = declared.tensor(data, value, stop)
            (dtype, bits), count = _dtype(tensor.kind), math.prod(tensor.dims)
            tensors, numbers, total = held.get((_part(tensor.name), dtype), [0, 0, 0])
            held[_part(tensor.name), dtype] = [tensors + 1, numbers + count, total + (count * bits + 7) // 8]
        elif number in values:
            found = declared.value(data, value, stop)
            values[number][found.name] = Value(_dtype(found.kind)[0], found.shape)
    weights = tuple(Weights(part, dtype, *numbers) for (part, dtype), numbers in sorted(held.items(), key=_order))
    return dict(operators.most_common()), values[INPUT], values[OUTPUT], weights


def _part(name: str) -> str:
    """Return the part of the network that a tensor belongs to: "blocks.3", "blocks.3.adapter", "patch_embed"."""
    found = BLOCK.match(name)
    if found:
        return f"blocks.{found[1]}" + (".adapter" if found[2] else "")
    first = name.split(".")[0].split("/")[0]
    return first if re.fullmatch(r"[a-z_]+(?<!val_)", first) else OTHERS


def _order(entry: tuple[tuple[str, str], list[int]]) -> tuple[bool, int, str, str]:
    part, dtype = entry[0]
    found = BLOCK.match(f"{part}.")
    return part == OTHERS, int(found[1]) if found else -1, part, dtype


def _pair(data: bytes, start: int, end: int) -> tuple[str, str | int]:
    """Return the first two fields of a message, text and text or number."""
    pair: dict[int, str | int] = {1: "", 2: ""}
    for number, kind, _, value, stop in fields(data, start, end):
        if number in pair:
            pair[number] = data[value:stop].decode(errors="replace") if kind == LENGTH_DELIMITED else value
    return str(pair[1]), pair[2]


def _operator(data: bytes, start: int, end: int) -> str:
    found = texts(data, start, end, 4, 7)
    operator, domain = found.get(4, ""), found.get(7, "")
    return operator if domain in ("", "ai.onnx") else f"{domain}.{operator}"


def _dtype(kind: int) -> tuple[str, int]:
    """Return a type's name and the bits of one number."""
    return DTYPES.get(kind, (f"type {kind}" if kind else "none", 0))
