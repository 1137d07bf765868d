"""Refuse ONNX files that keep tensors in other files, before an engine follows the path.

ONNX Runtime rejects `..`, absolute paths and symbolic links itself, but follows a hard link, and older builds follow
more. Our graphs never use external data, so any of it is refused. The `onnx` package is not on the device, hence this
walk over the protobuf wire format (protobuf.dev/programming-guides/encoding), which reads keys and lengths and skips
the tensors' bytes. Field numbers: github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

from adaptertune_deploy.core.errors import EngineError

# message -> field number -> the message that the field holds; fields that can't lead to a tensor are left out.
FIELDS: dict[str, dict[int, str]] = {
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: "TensorProto",
        6: "GraphProto",
        10: "TensorProto",
        11: "GraphProto",
        22: "SparseTensorProto",
        23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
}
TENSOR = "TensorProto"
EXTERNAL_DATA = 13
DATA_LOCATION = 14
VARINT, FIXED64, LENGTH_DELIMITED, FIXED32 = 0, 1, 2, 5


def check_self_contained(graph: Path) -> None:
    """Raise EngineError unless `graph` is an ONNX file whose tensors all lie inside it.

    Raises:
        EngineError: no such file, not a protobuf, or a tensor that points to another file.
    """
    try:
        with graph.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            external = _has_external(data)
    except (FileNotFoundError, IsADirectoryError):
        raise EngineError(f"{graph}: no such graph file; make one with: atd export") from None
    except ValueError:
        raise EngineError(f"{graph}: not an ONNX file, or a damaged one; run atd export again") from None
    if external:
        raise EngineError(f"{graph}: keeps tensors in other files; a graph must hold all of its tensors itself")


def _has_external(data: mmap.mmap) -> bool:
    """Return whether any tensor of the model has external data."""
    pending = [("ModelProto", 0, len(data))]
    while pending:
        message, start, end = pending.pop()
        children = FIELDS.get(message, {})
        for number, value, stop in _fields(data, start, end):
            if message == TENSOR and (number == EXTERNAL_DATA or (number == DATA_LOCATION and value != 0)):
                return True
            if number in children and stop is not None:
                pending.append((children[number], value, stop))
    return False


def _fields(data: mmap.mmap, start: int, end: int) -> Iterator[tuple[int, int, int | None]]:
    """Yield (field number, value, None), or (field number, start, stop) for a field that holds bytes.

    Raises:
        ValueError: the bytes are no protobuf message.
    """
    while start < end:
        key, start = _varint(data, start, end)
        kind = key & 7
        value, stop = start, None
        if kind == VARINT:
            value, start = _varint(data, start, end)
        elif kind == LENGTH_DELIMITED:
            length, value = _varint(data, start, end)
            start = stop = value + length
        elif kind in (FIXED64, FIXED32):
            start += 8 if kind == FIXED64 else 4
        else:
            raise ValueError(f"wire type {kind}")
        if start > end:
            raise ValueError("a field runs past its message")
        yield key >> 3, value, stop


def _varint(data: mmap.mmap, start: int, end: int) -> tuple[int, int]:
    """Return the number at `start` and where the next byte lies."""
    value = 0
    for shift in range(0, 70, 7):
        if start >= end:
            raise ValueError("a number runs past its message")
        byte = data[start]
        start += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, start
    raise ValueError("a number of more than ten bytes")
