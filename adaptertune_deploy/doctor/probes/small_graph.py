"""A shared graph as small as one can be, made here byte by byte: no file and no onnx package is needed.

    x = mean colour of the image [3] @ a fixed matrix [3, D]; the adapter after "block" 0; features = x + adapter(x)

It has the inputs, names and metadata of a bundle's shared graph (core.adapter.bank), so that every engine takes it as
one.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.core.adapter.folder import Adapter
from adaptertune_deploy.core.adapter.identity import tensor_name, tensor_shapes
from adaptertune_deploy.core.bundle import graph_facts
from adaptertune_deploy.core.bundle.graph_facts import GraphFacts
from adaptertune_deploy.core.spec import AdapterSpec, BackboneSpec, PreprocessSpec, TaskSpec
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.engines.onnx.wire_format import write

FLOAT, INT64 = 1, 7  # TensorProto.DataType
INT = 2  # AttributeProto.AttributeType
SIDE, WIDTH, SLOTS = 16, 8, (0,)
OPSET, IR_VERSION = 20, 10
BACKBONE = BackboneSpec("small.doctor", WIDTH, len(SLOTS), WIDTH, (SIDE, SIDE), "0" * 64)
PREPROCESS = PreprocessSpec((SIDE, SIDE), 1.0, "center", "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def projection() -> Array:
    """Return the fixed matrix, float32 [3, D]."""
    return np.cos(np.arange(3 * WIDTH)).reshape(3, WIDTH).astype(np.float32)


def task(rank: int) -> Adapter:
    """Return a task of this rank, its tensors drawn from a fixed seed."""
    spec = TaskSpec(f"rank{rank}", ("no", "yes"), AdapterSpec(rank, 0.5, SLOTS))
    draw = np.random.default_rng(rank)
    shapes = tensor_shapes(spec, BACKBONE)
    return Adapter(
        spec, {name: draw.normal(size=shape, scale=0.5).astype(np.float32) for name, shape in shapes.items()}
    )


def shared_graph() -> bytes:
    """Return the ONNX file."""
    constants = [
        _tensor("projection", FLOAT, (3, WIDTH), projection().tobytes()),
        _tensor("pixels", INT64, (2,), struct.pack("<2q", 2, 3)),
        _tensor("one", INT64, (1,), struct.pack("<q", 1)),
    ]
    values = {bank.IMAGES: (FLOAT, ("N", 3, SIDE, SIDE)), bank.IMAGE: (INT64, ("B",)), bank.TASK: (INT64, ("B",))}
    values |= {name: (FLOAT, shape) for name, shape in bank.input_shapes(SLOTS, WIDTH).items()}
    parts = [*(write(1, node) for node in _nodes()), write(2, "small"), *(write(5, entry) for entry in constants)]
    parts += [write(11, _value(name, *entry)) for name, entry in values.items()]
    parts.append(write(12, _value(bank.FEATURES, FLOAT, ("B", WIDTH))))
    facts = GraphFacts(graph_facts.FORMAT_VERSION, BACKBONE, PREPROCESS, SLOTS)
    said = [write(14, write(1, key) + write(2, text)) for key, text in graph_facts.to_metadata(facts).items()]
    return b"".join([write(1, IR_VERSION), write(7, b"".join(parts)), write(8, write(2, OPSET)), *said])


def _nodes() -> list[bytes]:
    nodes = [
        _node("ReduceMean", [bank.IMAGES, "pixels"], "colour", write(5, _attribute("keepdims", 0))),
        _node("MatMul", ["colour", "projection"], "token"),
        _node("Gather", ["token", bank.IMAGE], "x"),
        _node("Unsqueeze", ["x", "one"], "x.row"),
    ]
    value = "x.row"
    for side in ("down", "up"):
        for kind in ("weight", "bias"):
            nodes.append(_node("Gather", [tensor_name(0, side, kind), bank.TASK], f"{side}.{kind}"))
        nodes += [
            _node("MatMul", [value, f"{side}.weight"], f"{side}.product"),
            _node("Unsqueeze", [f"{side}.bias", "one"], f"{side}.bias.row"),
            _node("Add", [f"{side}.product", f"{side}.bias.row"], f"{side}.sum"),
        ]
        value = f"{side}.sum"
        if side == "down":
            nodes.append(_node("Gelu", [value], "hidden"))
            value = "hidden"
    return [*nodes, _node("Squeeze", [value, "one"], "adapted"), _node("Add", ["x", "adapted"], bank.FEATURES)]


def _node(operator: str, inputs: Sequence[str], output: str, attributes: bytes = b"") -> bytes:
    named = b"".join(write(1, name) for name in inputs) + write(2, output)
    return named + write(3, f"{output}.{operator}") + write(4, operator) + attributes


def _attribute(name: str, value: int) -> bytes:
    return write(1, name) + write(3, value) + write(20, INT)


def _tensor(name: str, kind: int, sizes: Sequence[int], data: bytes) -> bytes:
    return b"".join(write(1, size) for size in sizes) + write(2, kind) + write(8, name) + write(9, data)


def _value(name: str, kind: int, shape: Sequence[int | str]) -> bytes:
    sizes = b"".join(write(1, write(1 if isinstance(size, int) else 2, size)) for size in shape)
    return write(1, name) + write(2, write(1, write(1, kind) + write(2, sizes)))
