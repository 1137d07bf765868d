"""What an ONNX file declares of its tensors, inputs and outputs: name, type and sizes; numbers stay where they are.

Field numbers: github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

from __future__ import annotations

from dataclasses import dataclass

from adaptertune_deploy.engines.onnx.wire_format import (
    LENGTH_DELIMITED,
    VARINT,
    fields,
    messages,
    signed,
    texts,
    varints,
)


@dataclass(frozen=True)
class DeclaredTensor:
    """A TensorProto.

    kind: TensorProto.DataType.
    raw: where its raw bytes lie; None where it keeps its numbers in another way.
    """

    name: str
    kind: int
    dims: tuple[int, ...]
    raw: tuple[int, int] | None


@dataclass(frozen=True)
class DeclaredValue:
    """A ValueInfoProto.

    kind: TensorProto.DataType; 0 for what is no tensor.
    shape: an int for a fixed dimension, the name of a dynamic one, "?" where it has none.
    """

    name: str
    kind: int
    shape: tuple[int | str, ...]


def tensor(data: bytes, start: int, end: int) -> DeclaredTensor:
    """Return what the TensorProto at data[start:end] declares.

    Raises:
        ValueError: the bytes are no protobuf message.
    """
    name, of, raw = "", 0, None
    dims: list[int] = []
    for number, kind, _, value, stop in fields(data, start, end):
        if number == 1:
            dims += [signed(value)] if kind == VARINT else varints(data, value, stop)
        elif number == 2 and kind == VARINT:
            of = value
        elif number == 8 and kind == LENGTH_DELIMITED:
            name = data[value:stop].decode()
        elif number == 9 and kind == LENGTH_DELIMITED:
            raw = (value, stop)
    return DeclaredTensor(name, of, tuple(dims), raw)


def value(data: bytes, start: int, end: int) -> DeclaredValue:
    """Return what the ValueInfoProto at data[start:end] declares; what is given twice is merged, as readers do.

    Raises:
        ValueError: the bytes are no protobuf message.
    """
    of, shape = 0, list[int | str]()
    for begin, stop in messages(data, (start, end), 2, 1):  # type, then tensor_type
        for number, kind, _, found, _ in fields(data, begin, stop):
            if number == 1 and kind == VARINT:
                of = found
        shape += [_dimension(data, *span) for span in messages(data, (begin, stop), 2, 1)]  # shape, then one each
    return DeclaredValue(texts(data, start, end, 1).get(1, ""), of, tuple(shape))


def _dimension(data: bytes, start: int, end: int) -> int | str:
    size: int | str = "?"
    for number, kind, _, found, stop in fields(data, start, end):
        if number == 1 and kind == VARINT:
            size = signed(found)
        elif number == 2 and kind == LENGTH_DELIMITED:
            size = data[found:stop].decode()
    return size
