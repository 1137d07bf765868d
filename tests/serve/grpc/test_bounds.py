from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from adaptertune_deploy.core.errors import RequestError
from adaptertune_deploy.core.images import preprocess
from adaptertune_deploy.serve.grpc.bounds import MAX_FIELDS, MAX_SHORT, check_fields, check_infer, check_short
from adaptertune_deploy.serve.grpc.messages import message
from adaptertune_deploy.serve.protocol.fields import MAX_SMALL
from tests.builders import make_preprocess_spec
from tests.serve.grpc.conftest import Called, image_request

ROWS = 1000
CHECK = partial(check_infer, rows=ROWS)
REQUEST = message("ModelInferRequest")
MODEL, PARAMETERS, INPUTS, OUTPUTS, RAW = 1, 4, 5, 6, 7  # numbers in a request
SHAPE, OWN, CONTENTS = 3, 4, 5  # in an input
BYTES_CONTENTS, FP32_CONTENTS, INT64_CONTENTS = 8, 6, 3  # in its contents


def field(number: int, content: bytes = b"") -> bytes:
    return bytes([number << 3 | 2]) + varint(len(content)) + content


def varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def in_contents(data: bytes) -> bytes:
    return field(INPUTS, field(CONTENTS, data))


MANY = 1_000_000
BOMBS = {
    "inputs": (field(INPUTS) * MANY, "more than 5,096 fields"),
    "outputs": (field(OUTPUTS) * MANY, "more than 5,096 fields"),
    "names of inputs": (field(INPUTS, field(1)) * ((MAX_FIELDS + ROWS) // 2 + 1), "more than 5,096 fields"),
    "raw tensors": (field(RAW) * MANY, "more than 5,096 fields"),
    "unknown fields": (field(15) * MANY, "more than 5,096 fields"),
    "unknown groups": (b"\x7b\x7c" * MANY, "more than 5,096 fields"),
    "parameters": (b"".join(field(PARAMETERS, field(1, b"%d" % n)) for n in range(9999)), "'parameters' has more"),
    "one parameter": (field(PARAMETERS, field(1, b"x" * MAX_SMALL)), "'parameters' has more than 4,096 bytes"),
    "empty parameters": (field(INPUTS, field(OWN) * MANY), "more than 5,096 fields"),
    "parameters of an output": (field(OUTPUTS, field(2, b"\n\1x" * MANY)), "'parameters' has more"),
    "a name": (field(INPUTS, field(1, b"x" * 5000)), "'name' has more than 4,096 bytes"),
    "an id": (field(3, b"x" * 5000), "'id' has more than 4,096 bytes"),
    "a packed shape": (field(INPUTS, field(SHAPE, b"\1" * MANY)), "'shape' has more than 4,096 bytes"),
    "a shape": (field(INPUTS, b"\x18\1" * MANY), "more than 5,096 fields"),
    "images": (in_contents(field(BYTES_CONTENTS) * MANY), "more than 5,096 fields"),
    "images of many inputs": (in_contents(field(BYTES_CONTENTS) * 100) * 2000, "more than 5,096 fields"),
    "contents": (field(INPUTS, field(CONTENTS) * MANY), "more than 5,096 fields"),
    "numbers of another type": (in_contents(field(INT64_CONTENTS, b"\1" * MANY)), "hold 'int64_contents', expected"),
    "numbers that are not packed": (in_contents(b"\x18\1" * MANY), "more than 5,096 fields"),
    "floats behind another field": (in_contents(b"\x18\1" + b"\x35abcd" * MANY), "more than 5,096 fields"),
}


@pytest.mark.case("C3", "gRPC: millions of fields of every kind in one message", "refused before it is parsed")
@pytest.mark.parametrize("name", BOMBS)
def test_what_would_take_long_to_parse_is_refused(name: str) -> None:
    data, text = BOMBS[name]
    with pytest.raises(RequestError, match=text) as caught:
        CHECK(field(MODEL, b"pets") + data)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "data",
    [
        image_request(*[b"image"] * ROWS),
        in_contents(field(BYTES_CONTENTS) * 5000),
        image_request(bytes(20_000_000)),
        field(RAW, bytes(20_000_000)),
        in_contents(field(FP32_CONTENTS, bytes(4 * MANY))),
        in_contents(b"\x35abcd" * MANY),
        in_contents(b"\x355555" * MANY + field(INT64_CONTENTS, b"\1")),
        field(PARAMETERS, field(1, b"x" * 4000)) + field(INPUTS, field(OWN, field(1, b"x" * 4000))),
        field(INPUTS) * MAX_FIELDS,
        b"\x7a\x82\x80\x80\x80\x00ab",  # a length in five bytes
        b"",
    ],
)
def test_what_a_right_request_may_hold_is_taken(data: bytes) -> None:
    CHECK(data)
    REQUEST.FromString(data)


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xff",
        b"\x2a",
        b"\x2a\5abcd",
        b"\x2a" + b"\xff" * 11,
        b"\0\0",
        b"\x2f",
        b"\x09abcdefg",
        field(INPUTS, b"\x2a\1") + b"\0",
        in_contents(b"\x35abc"),
        b"\xfa\xff\xff\xff\x7f\0",
    ],
)
def test_what_is_no_message_is_no_message_to_the_parser_either(data: bytes) -> None:
    for read in (CHECK, REQUEST.FromString):
        with pytest.raises(DecodeError):
            read(data)


PARTS = st.recursive(
    st.binary(max_size=12),
    lambda part: st.lists(st.tuples(st.integers(0, 15), part).map(lambda two: field(*two))).map(b"".join),
)


@given(PARTS, st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=3))
def test_what_the_parser_takes_is_seen_to_its_end(data: bytes, changes: list[tuple[int, int]]) -> None:
    """Else something could hide behind what only one of the two reads."""
    changed = bytearray(data)
    for place, value in changes:
        if place < len(changed):
            changed[place] = value
    if not refused(REQUEST.FromString, bytes(changed)):
        assert not refused(CHECK, bytes(changed))


def refused(read: Any, data: bytes) -> bool:
    try:
        read(data)
    except DecodeError:
        return True
    return False


def test_methods_without_images_take_short_messages() -> None:
    check_short(bytes(MAX_SHORT))
    with pytest.raises(RequestError, match="has 65,537 bytes, expected at most 65,536") as caught:
        check_short(bytes(MAX_SHORT + 1))
    assert caught.value.status == 413


def test_files_are_few_and_large() -> None:
    check_fields(field(3, bytes(20_000_000)) * 2)
    with pytest.raises(RequestError, match="more than 4,096 fields"):
        check_fields(field(3) * MANY)
    with pytest.raises(DecodeError):
        check_fields(b"\x1a\5")


@pytest.mark.case("C3", "gRPC: settings by the hundred thousand", "refused before they are parsed")
@pytest.mark.parametrize("method", ["LogSettings", "TraceSetting", "ServerLive", "RepositoryModelUnload"])
def test_a_short_method_refuses_a_long_message(server: Called, method: str) -> None:
    code, text = server.failure(method, b"".join(field(1, field(1, b"%d" % place)) for place in range(100_000)))
    assert (code.name, "expected at most 65,536 for this method" in text) == ("INVALID_ARGUMENT", True)


def test_a_model_that_is_loaded_elsewhere_is_refused_as_such(server: Called) -> None:
    file = field(3, field(1, b"file:model.safetensors") + field(2, field(5, bytes(1_000_000))))
    assert server.failure("RepositoryModelLoad", file)[0].name == "PERMISSION_DENIED"
    assert server.failure("RepositoryModelLoad", field(3) * MANY)[0].name == "INVALID_ARGUMENT"


def test_floats_that_are_not_packed_are_read(server: Called, png: bytes) -> None:
    pixels = preprocess.preprocess(png, make_preprocess_spec())
    entry = REQUEST().inputs.add(name="images", datatype="FP32", shape=[1, *pixels.shape])
    values = pixels.astype("<f4").tobytes()
    single = b"".join(b"\x35" + values[at : at + 4] for at in range(0, len(values), 4))
    whole = field(MODEL, b"pets__tensor") + field(INPUTS, entry.SerializeToString() + field(CONTENTS, single))
    expected = server.call("ModelInfer", image_request(png)).raw_output_contents
    assert server.call("ModelInfer", whole).raw_output_contents == expected
