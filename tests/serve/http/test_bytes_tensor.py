from __future__ import annotations

import base64
import json
import struct
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptertune_deploy.core.errors import RequestError
from adaptertune_deploy.serve.http.bytes_tensor import from_json, pack, unpack

elements = st.lists(st.binary(max_size=30), max_size=6)


@given(elements)
def test_binary_form_comes_back(values: list[bytes]) -> None:
    assert unpack(pack(values), len(values), "image", "pets") == tuple(values)


def raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(value).encode())


@given(elements)
def test_json_form_comes_back_flat_and_nested(values: list[bytes]) -> None:
    strings = [base64.b64encode(value).decode() for value in values]
    assert from_json(raw(strings), len(values), "image", "pets") == tuple(values)
    assert from_json(raw([[string] for string in strings]), len(values), "image", "pets") == tuple(values)


def test_the_layout_is_a_little_endian_length_and_the_bytes() -> None:
    assert pack([b"abc", b""]) == b"\x03\x00\x00\x00abc\x00\x00\x00\x00"


@pytest.mark.parametrize(
    ("data", "count", "message"),
    [
        (struct.pack("<I", 9999) + b"x" * 15, 1, "expecting string of length 9999 but only 15 bytes available"),
        (struct.pack("<I", 2**32 - 1), 1, "expecting string of length 4294967295 but only 0 bytes"),
        (b"\x01\x00", 1, "expecting 4 bytes but only 2 bytes"),
        (pack([b"a"]), 2, "expected 2 string elements for inference input 'image' for model 'pets', got 1"),
        (pack([b"a", b"b"]), 1, "expected 1 string elements .* got more"),
        (b"", 1, "expected 1 string elements .* got 0"),
    ],
)
def test_a_broken_binary_form_is_refused(data: bytes, count: int, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        unpack(data, count, "image", "pets")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("aGk=", "base64"),
        (["http://169.254.169.254/"], "URLs are not accepted"),
        (["file:///etc/passwd"], "URLs are not accepted"),
        ([7], "base64"),
        (["aGk"], "base64"),
        (["\u00e9"], "base64"),
        ([], "expected 1 string elements .* got others"),
        (["aGk="] * 2, "expected 1 string elements .* got others"),
        ([["aGk="]] * 2, "expected 1 string elements .* got others"),
    ],
)
def test_a_broken_json_form_is_refused(data: Any, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        from_json(raw(data), 1, "image", "pets")
