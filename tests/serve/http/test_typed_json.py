from __future__ import annotations

import gc
import json
import tracemalloc

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptertune_deploy.core.errors import RequestError
from adaptertune_deploy.serve.http.typed_json import MAX_SMALL, MAX_VALUES, FirstTwo, check, decode, small
from tests.serve.fakes import status_of


class Wanted(msgspec.Struct):
    a: int


DECODER = msgspec.json.Decoder(Wanted)
PAIR = msgspec.json.Decoder(FirstTwo)


def read(data: bytes) -> Wanted:
    check(data)
    return decode(data, DECODER, "expected a number 'a'")


def test_what_is_wanted_is_decoded_and_the_rest_skipped() -> None:
    assert read(b' {"x": [1, {"y": [[]]}], "a": 7, "z": "\\u00e9"} ').a == 7
    assert read(b'{"a":1,"a":2}').a == 2


@pytest.mark.case("C2", "JSON of depth 250,000 or of millions of values", "400")
@pytest.mark.case("C10", "NaN, Infinity, 1e400, a BOM, UTF-16, invalid UTF-8", "400")
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"{not json", "failed to parse the request JSON: .*byte 1"),
        (b"", "failed to parse"),
        (b'{"a":1} 2', "failed to parse"),
        (b'\xef\xbb\xbf{"a":1}', "failed to parse"),
        ('{"a":1}'.encode("utf-16"), "not valid UTF-8"),
        (b'{"a":1,"x":"\xff"}', "not valid UTF-8"),
        (b'{"a":NaN}', "failed to parse"),
        (b'{"a":1,"x":-Infinity}', "failed to parse"),
        (b'{"a":1e400}', "expected a number 'a'|failed to parse"),
        (b"[]", "expected a number 'a'"),
        (b"{}", "expected a number 'a'"),
        (b'{"a":1,"x":' + b"[" * 50_000, "nested too deeply"),
        (b"[" * 250_000, "more than 100,000 values"),
        (b'{"a":1,"x":[' + b"[]," * 200_000 + b"0]}", "more than 100,000 values"),
    ],
)
def test_everything_else_is_one_clear_error(data: bytes, message: str) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        read(data)
    assert caught.value.status == 400


@pytest.mark.case("C10", "any bytes as JSON", "400 or read")
@given(st.binary(max_size=60))
def test_any_bytes_give_a_value_or_a_request_error(data: bytes) -> None:
    assert status_of(read, data) in (None, 400)


@pytest.mark.case("C2", "JSON that is skipped", "no memory")
def test_what_is_skipped_costs_no_memory() -> None:
    """A tree of these 300 kB held 10 MB."""
    data = b'{"a":1,"x":[' + b"[]," * (MAX_VALUES // 2 - 10) + b"0]}"
    gc.collect()
    tracemalloc.start()
    assert read(data).a == 1
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 300_000


def test_of_an_array_two_elements_are_seen() -> None:
    for count in range(4):
        text = json.dumps(list(range(count))).encode()
        found = decode(text, PAIR, "no")
        assert [bytes(raw) for raw in (found.first, found.second) if raw] == [b"0", b"1"][:count]


def test_small_parts_may_be_anything_small() -> None:
    assert small(msgspec.Raw(b'{"a":[1,null]}'), "p") == {"a": [1, None]}
    with pytest.raises(RequestError, match="'p' has 4,098 bytes of JSON, expected at most 4,096"):
        small(msgspec.Raw(b'"' + b"x" * MAX_SMALL + b'"'), "p")
