"""ONNX files written by hand, field by field, since the device side has no onnx package.

Field numbers are those of github.com/onnx/onnx/blob/main/onnx/onnx.proto; the encoding is protobuf's
(protobuf.dev/programming-guides/encoding).
"""

from __future__ import annotations

FLOAT, INT64 = 1, 7


def varint(value: int) -> bytes:
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def field(number: int, value: int | str | bytes) -> bytes:
    """Return one field: a number as a varint, text and bytes with their length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def value_info(name: str, kind: int, shape: tuple[int | str, ...]) -> bytes:
    dims = b"".join(field(1, field(1 if isinstance(size, int) else 2, size)) for size in shape)
    tensor = field(1, kind) + field(2, dims)
    return field(1, name) + field(2, field(1, tensor))


def node(kind: str, inputs: tuple[str, ...], output: str, attributes: bytes = b"") -> bytes:
    names = b"".join(field(1, name) for name in inputs)
    return names + field(2, output) + field(4, kind) + attributes


def external_tensor(location: str, name: str = "table") -> bytes:
    """Return a TensorProto [2, 3] of floats that lie in another file."""
    entries = {"location": location, "offset": "0", "length": "24"}
    data = b"".join(field(13, field(1, key) + field(2, value)) for key, value in entries.items())
    return field(1, 2) + field(1, 3) + field(2, FLOAT) + field(8, name) + data + field(14, 1)


def graph(*nodes: bytes, inputs: tuple[bytes, ...], outputs: tuple[bytes, ...], rest: bytes = b"") -> bytes:
    parts = [field(1, entry) for entry in nodes]
    parts += [field(2, "test"), rest]
    parts += [field(11, entry) for entry in inputs] + [field(12, entry) for entry in outputs]
    return b"".join(parts)


def model(of: bytes, rest: bytes = b"") -> bytes:
    """Return a ModelProto: IR version 10, opset 20."""
    return field(1, 10) + field(8, field(2, 20)) + field(7, of) + rest


def metadata(key: str, value: str) -> bytes:
    return field(14, field(1, key) + field(2, value))


TABLE = value_info("table", FLOAT, ("T", 3))
INDEX = value_info("index", INT64, ("B",))
ROWS = value_info("rows", FLOAT, ("B", 3))
GATHER = node("Gather", ("table", "index"), "rows")


def lookup() -> bytes:
    """Return a model: rows [B, 3] = table [T, 3] at index int64 [B]; its metadata says about: lookup."""
    return model(graph(GATHER, inputs=(TABLE, INDEX), outputs=(ROWS,)), metadata("about", "lookup"))
