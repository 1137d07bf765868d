"""The protobuf wire format: walk over the fields of a message, and write fields.

A message is a row of fields: a key (number and wire type), then a number, or a length and that many bytes. Who walks
reads keys and lengths and skips what it does not ask for, so a tensor's bytes cost nothing. The `onnx` and `protobuf`
packages are not on a device. Specification: protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

VARINT, FIXED64, LENGTH_DELIMITED, FIXED32 = 0, 1, 2, 5
MAX_KEY = (1 << 32) - 1  # a protobuf reader drops the bits above, so a longer key would mean another field to it

# (number, wire type, where the key begins, value, where the field stops): the value of a VARINT is its number, that of
# every other type the place where its bytes begin.
Field = tuple[int, int, int, int, int]


def fields(data: bytes | memoryview, start: int, end: int) -> Iterator[Field]:
    """Yield the fields of the message that lies at data[start:end].

    Raises:
        ValueError: the bytes are no protobuf message.
    """
    while start < end:
        begin = start
        key, start = _varint(data, start, end)
        if not 8 <= key <= MAX_KEY:
            raise ValueError(f"key {key}")
        kind = key & 7
        value = start
        if kind == VARINT:
            value, start = _varint(data, start, end)
        elif kind == LENGTH_DELIMITED:
            length, value = _varint(data, start, end)
            start = value + length
        elif kind in (FIXED64, FIXED32):
            start += 8 if kind == FIXED64 else 4
        else:
            raise ValueError(f"wire type {kind}")
        if start > end:
            raise ValueError("a field runs past its message")
        yield key >> 3, kind, begin, value, start


def signed(value: int) -> int:
    """Return a VARINT's number as the int64 that it stands for."""
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value


def varints(data: bytes | memoryview, start: int, end: int) -> list[int]:
    """Return the int64 numbers of a packed repeated field.

    Raises:
        ValueError: the bytes are no row of numbers.
    """
    found = []
    while start < end:
        value, start = _varint(data, start, end)
        found.append(signed(value))
    return found


def messages(data: bytes | memoryview, span: tuple[int, int], *path: int) -> list[tuple[int, int]]:
    """Return where the messages lie that field numbers lead to, one field number a level.

    Raises:
        ValueError: the bytes are no protobuf message.
    """
    spans = [span]
    for wanted in path:
        spans = [
            (value, stop)
            for start, end in spans
            for number, kind, _, value, stop in fields(data, start, end)
            if number == wanted and kind == LENGTH_DELIMITED
        ]
    return spans


def texts(data: bytes, start: int, end: int, *wanted: int) -> dict[int, str]:
    """Return a message's texts at these field numbers.

    Raises:
        ValueError: the bytes are no protobuf message, or no text.
    """
    return {
        number: data[value:stop].decode()
        for number, kind, _, value, stop in fields(data, start, end)
        if kind == LENGTH_DELIMITED and number in wanted
    }


def write(number: int, value: int | float | str | bytes) -> bytes:
    """Return one field: an int as a varint, a float as four bytes, text and bytes with their length."""
    if isinstance(value, float):
        return _number(number << 3 | FIXED32) + struct.pack("<f", value)
    if isinstance(value, int):
        return _number(number << 3 | VARINT) + _number(value & ((1 << 64) - 1))
    data = value.encode() if isinstance(value, str) else value
    return write_key(number, len(data)) + data


def write_key(number: int, size: int) -> bytes:
    """Return what comes before the bytes of a field that holds `size` of them."""
    return _number(number << 3 | LENGTH_DELIMITED) + _number(size)


def _number(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def _varint(data: bytes | memoryview, start: int, end: int) -> tuple[int, int]:
    """Return the number at `start` and where the next byte lies."""
    if start < end and data[start] < 0x80:
        return data[start], start + 1
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
