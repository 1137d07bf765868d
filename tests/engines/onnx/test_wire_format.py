"""engines.onnx.wire_format: what protobuf writes is read, what is written protobuf reads, and damage is an error."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptertune_deploy.engines.onnx import wire_format
from adaptertune_deploy.engines.onnx.wire_format import FIXED32, FIXED64, LENGTH_DELIMITED, VARINT


def test_the_specifications_own_examples() -> None:
    """protobuf.dev/programming-guides/encoding: 150, "testing", and 3, 270, 86942 packed."""
    number = bytes.fromhex("089601")
    text = bytes.fromhex("120774657374696e67")
    packed = bytes.fromhex("3206038e029ea705")
    data = number + text + packed
    assert list(wire_format.fields(data, 0, len(data))) == [
        (1, VARINT, 0, 150, 3),
        (2, LENGTH_DELIMITED, 3, 5, 12),
        (6, LENGTH_DELIMITED, 12, 14, 20),
    ]
    assert wire_format.varints(data, 14, 20) == [3, 270, 86942]
    assert wire_format.write(1, 150) == number
    assert wire_format.write(2, "testing") == text


def test_fields_of_fixed_size_are_stepped_over() -> None:
    data = bytes([3 << 3 | FIXED64, *range(8), 4 << 3 | FIXED32, *range(4)])
    assert [(number, kind, stop) for number, kind, _, _, stop in wire_format.fields(data, 0, len(data))] == [
        (3, FIXED64, 9),
        (4, FIXED32, 14),
    ]


def test_negative_numbers_are_ten_bytes() -> None:
    data = wire_format.write(1, -1)
    assert data == bytes.fromhex("08ffffffffffffffffff01")
    ((_, _, _, value, _),) = wire_format.fields(data, 0, len(data))
    assert wire_format.signed(value) == -1


def test_a_float_is_four_bytes() -> None:
    assert wire_format.write(2, 0.125) == bytes([2 << 3 | FIXED32]) + struct.pack("<f", 0.125)


@given(number=st.integers(1, (1 << 29) - 1), value=st.integers(-(1 << 63), (1 << 63) - 1))
def test_numbers_come_back(number: int, value: int) -> None:
    data = wire_format.write(number, value)
    ((found, kind, begin, read, stop),) = wire_format.fields(data, 0, len(data))
    assert (found, kind, begin, wire_format.signed(read), stop) == (number, VARINT, 0, value, len(data))


@given(number=st.integers(1, (1 << 29) - 1), value=st.binary(max_size=300))
def test_bytes_come_back_from_memory_views_too(number: int, value: bytes) -> None:
    data = wire_format.write(number, value)
    for view in (data, memoryview(data)):
        ((found, kind, _, start, stop),) = wire_format.fields(view, 0, len(view))
        assert (found, kind, bytes(view[start:stop])) == (number, LENGTH_DELIMITED, value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x0b", "wire type 3"),
        (b"\x08", "a number runs past its message"),
        (b"\x3a\x05ab", "a field runs past its message"),
        (b"\x39\x00", "a field runs past its message"),
        (b"\x08" + b"\xff" * 11, "a number of more than ten bytes"),
        (b"\x00\x00", "key 0"),
        (b"\x88\x80\x80\x80\x10\x00", "key 4294967304"),
    ],
)
def test_what_is_no_message_is_an_error(data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        list(wire_format.fields(data, 0, len(data)))


def test_a_part_of_the_bytes_is_a_message_of_its_own() -> None:
    data = wire_format.write(1, wire_format.write(2, 7)) + wire_format.write(3, 9)
    ((_, _, _, start, stop), _) = wire_format.fields(data, 0, len(data))
    assert [field[0] for field in wire_format.fields(data, start, stop)] == [2]
    with pytest.raises(ValueError, match="past its message"):
        list(wire_format.fields(data, 0, stop - 1))


def test_messages_and_texts_are_found_by_their_numbers() -> None:
    entries = [wire_format.write(1, name) + wire_format.write(2, 5) + wire_format.write(3, "é") for name in ("a", "b")]
    graph = b"".join(wire_format.write(4, entry) for entry in entries)
    data = wire_format.write(9, 1) + wire_format.write(7, graph) + wire_format.write(7, wire_format.write(5, "no"))
    spans = wire_format.messages(data, (0, len(data)), 7, 4)
    assert [data[start:stop] for start, stop in spans] == entries
    assert [wire_format.texts(data, *span, 1, 2) for span in spans] == [{1: "a"}, {1: "b"}]
    assert wire_format.texts(data, *spans[0], 3, 8) == {3: "é"}
    assert wire_format.messages(data, (0, len(data)), 6) == []
