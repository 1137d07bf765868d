from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptertune_deploy.core.errors import RequestError
from adaptertune_deploy.serve.protocol.bytes_tensor import pack, unpack
from adaptertune_deploy.serve.protocol.models import image_model
from adaptertune_deploy.serve.tasks.served_task import ServedTask
from tests.builders import make_task

PETS = image_model(ServedTask(0, make_task("pets")))
elements = st.lists(st.binary(max_size=30), max_size=6)


@given(elements)
def test_binary_form_comes_back(values: list[bytes]) -> None:
    assert unpack(pack(values), len(values), PETS) == tuple(values)


def test_the_layout_is_a_little_endian_length_and_the_bytes() -> None:
    assert pack([b"abc", b""]) == b"\x03\x00\x00\x00abc\x00\x00\x00\x00"


@pytest.mark.case("C5", "lengths beyond the body, of 2^32 - 1, more or fewer elements than the shape", "400")
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
        unpack(data, count, PETS)
