"""core.storage.tensors: a safetensors file is exactly what was asked for, or a FormatError."""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from adaptertune_deploy.core.errors import FormatError
from adaptertune_deploy.core.storage import tensors

SHAPES = {"bias": (3,), "weight": (3, 2)}
VALUES = {
    "bias": np.array([1, -2, 3], dtype=np.float32),
    "weight": np.arange(6, dtype=np.float32).reshape(3, 2) / 7,
}
GOOD = tensors.pack(VALUES)


def raw(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(shape: object, start: int, end: int, dtype: object = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def refused(data: bytes, message: str = "^file: ") -> None:
    with pytest.raises(FormatError, match=message) as caught:
        tensors.unpack(data, SHAPES, "file")
    text = str(caught.value)
    assert text.startswith("file: ")
    assert "\n" not in text
    assert len(text) < 400


def test_what_was_packed_comes_back() -> None:
    found = tensors.unpack(GOOD, SHAPES, "file")
    assert list(found) == sorted(VALUES)
    for name, value in VALUES.items():
        np.testing.assert_array_equal(found[name], value, strict=True)
        assert found[name].flags.writeable
    np.testing.assert_array_equal(safetensors.numpy.load(GOOD)["weight"], VALUES["weight"], strict=True)


def test_packing_is_deterministic_and_survives_views() -> None:
    assert tensors.pack(dict(reversed(VALUES.items()))) == GOOD
    turned = np.ascontiguousarray(VALUES["weight"].T).T
    assert not turned.flags.c_contiguous
    assert tensors.pack({"bias": VALUES["bias"].astype(np.float64), "weight": turned}) == GOOD


def test_a_note_comes_back_and_leaves_the_tensors_alone() -> None:
    data = tensors.pack(VALUES, ("key", "text"))
    assert tensors.read_note(data, "key", "file") == "text"
    assert tensors.read_note(data, "other", "file") is None
    assert tensors.read_note(GOOD, "key", "file") is None
    np.testing.assert_array_equal(tensors.unpack(data, SHAPES, "file")["weight"], VALUES["weight"])
    with pytest.raises(FormatError, match="not a safetensors file"):
        tensors.read_note(b"", "key", "file")


def test_half_precision_is_read_as_float32() -> None:
    halves = {name: value.astype(np.float16) for name, value in VALUES.items()}
    found = tensors.unpack(safetensors.numpy.save(halves), SHAPES, "file")
    for name, value in halves.items():
        np.testing.assert_array_equal(found[name], value.astype(np.float32), strict=True)


def test_metadata_is_allowed() -> None:
    data = safetensors.numpy.save(VALUES, metadata={"format": "pt"})
    assert set(tensors.unpack(data, SHAPES, "file")) == set(SHAPES)


BIAS, WEIGHT = entry([3], 0, 12), entry([3, 2], 12, 36)
DATA = bytes(36)

HOSTILE = {
    "empty": (b"", r"not a safetensors file \(0 bytes\)"),
    "seven bytes": (bytes(7), r"\(7 bytes\)"),
    "header length 0": (bytes(8), "header is not what the format asks"),
    "header beyond the file": (struct.pack("<Q", 100) + b"{}", "header of 100 bytes in a file of 10"),
    "header of 100 MB": (struct.pack("<Q", 100 << 20) + bytes(2 << 20), "header of 104,857,600 bytes"),
    "header of 2 MiB": (raw(b"{}" + b" " * ((2 << 20) - 2)), "header of 2,097,152 bytes in a file of 2,097,160"),
    "header of 2^64-1": (b"\xff" * 8 + b"{}", "header of 18,446,744,073,709,551,615 bytes"),
    "not json": (raw(b"\x80\x04abc"), "header is not"),
    "not utf-8": (raw(b'{"\xff": 1}'), "header is not"),
    "deep json": (raw(b"[" * 500_000), "header is not"),
    "endless number": (raw(b'{"bias": ' + b"9" * 10_000 + b"}"), "header is not"),
    "a list": (raw([]), "header is not"),
    "null": (raw(None), "header is not"),
    "entry is text": (raw({"bias": "F32", "weight": WEIGHT}, DATA), "header is not"),
    "entry is null": (raw({"bias": None, "weight": WEIGHT}, DATA), "header is not"),
    "shape is text": (raw({"bias": entry("3", 0, 12), "weight": WEIGHT}, DATA), "header is not"),
    "no shape": (raw({"bias": {"dtype": "F32"}, "weight": WEIGHT}, DATA), "header is not"),
    "no offsets": (raw({"bias": {"dtype": "F32", "shape": [3]}, "weight": WEIGHT}, DATA), "not a safetensors file"),
    "name twice": (raw(json.dumps({"bias": BIAS}).encode()[:-1] + b', "bias": {}}', DATA), "header is not"),
    "metadata is a number": (raw({"__metadata__": 5, "bias": BIAS, "weight": WEIGHT}, DATA), "not a safetensors"),
    "missing": (raw({"bias": BIAS}, DATA), r"tensor 'weight' is missing \(1 missing in all\)"),
    "extra": (raw({"bias": BIAS, "weight": WEIGHT, "x": BIAS}, DATA), r"tensor 'x' is not part of this adapter \(1"),
    "a long name": (raw({"bias": BIAS, "weight": WEIGHT, "x" * 90_000: BIAS}, DATA), "tensor 'xxx"),
    "a name of two lines": (raw({"bias": BIAS, "weight": WEIGHT, "x\ny": BIAS}, DATA), r"tensor 'x\\ny'"),
    "thousands of tensors": (raw({f"t{i}": BIAS for i in range(15_000)}, DATA), r"\(2 missing in all\)"),
    "another rank": (raw({"bias": BIAS, "weight": entry([3, 1], 12, 24)}, DATA), r"shape \[3, 1\], expected \[3, 2\]"),
    "transposed": (raw({"bias": BIAS, "weight": entry([2, 3], 12, 36)}, DATA), r"shape \[2, 3\], expected \[3, 2\]"),
    "rank 0": (raw({"bias": BIAS, "weight": entry([3, 0], 12, 12)}, DATA[:12]), r"shape \[3, 0\]"),
    "overflowing shape": (raw({"bias": BIAS, "weight": entry([2**62 + 1, 4], 12, 36)}, DATA), "shape"),
    "negative shape": (raw({"bias": entry([-3], 0, 12), "weight": WEIGHT}, DATA), r"shape \[-3\]"),
    "shape of floats": (raw({"bias": entry([3.0], 0, 12), "weight": WEIGHT}, DATA), "not a safetensors file"),
    "endless shape": (raw({"bias": entry([1] * 50_000, 0, 12), "weight": WEIGHT}, DATA), "shape"),
    "integers": (raw({"bias": entry([3], 0, 12, "I32"), "weight": WEIGHT}, DATA), "dtype 'I32', expected F32 or F16"),
    "bfloat16": (raw({"bias": entry([3], 0, 6, "BF16"), "weight": entry([3, 2], 6, 30)}, DATA), "dtype 'BF16'"),
    "dtype is a list": (raw({"bias": entry([3], 0, 12, ["F32"]), "weight": WEIGHT}, DATA), "dtype"),
    "wrong dtype for its bytes": (raw({"bias": entry([3], 0, 12, "F16"), "weight": WEIGHT}, DATA), "not a safetensors"),
    "overlapping": (raw({"bias": BIAS, "weight": entry([3, 2], 0, 24)}, DATA), "not a safetensors file"),
    "a hole": (raw({"bias": BIAS, "weight": entry([3, 2], 16, 40)}, bytes(40)), "not a safetensors file"),
    "beyond the end": (raw({"bias": BIAS, "weight": entry([3, 2], 12, 2**60)}, DATA), "not a safetensors file"),
    "negative offset": (raw({"bias": entry([3], -12, 0), "weight": WEIGHT}, DATA), "not a safetensors file"),
    "too short": (GOOD[:-1], "not a safetensors file"),
    "too long": (GOOD + b"\0", "not a safetensors file"),
    "zip": (b"PK\x03\x04" + bytes(100), "not a safetensors file"),
}


@pytest.mark.case("E2", "headers, offsets, shapes and types that lie", "refused, the tensor named")
@pytest.mark.parametrize(("data", "message"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_files_are_refused(data: bytes, message: str) -> None:
    refused(data, message)


@pytest.mark.case("E2", "NaN and infinity in weights", "refused, the tensor named")
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_values_that_are_not_finite_are_refused_by_name(value: float, dtype: type[np.floating[Any]]) -> None:
    weight = VALUES["weight"].copy()
    weight[2, 1] = value
    data = safetensors.numpy.save({"bias": VALUES["bias"].astype(dtype), "weight": weight.astype(dtype)})
    refused(data, "tensor 'weight' holds NaN or infinite values")


class Payload:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.case("E1", "pickles under any name", "refused, never run")
def test_pickles_are_refused_and_never_run(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch makes one of the files")
    stream = io.BytesIO()
    torch.save({"weight": Payload(tmp_path / "owned")}, stream)
    for data in (pickle.dumps(Payload(tmp_path / "owned")), stream.getvalue()):
        refused(data)
    assert os.listdir(tmp_path) == []


@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_damaged_file_is_tensors_or_a_format_error(edits: list[tuple[int, int]]) -> None:
    data = bytearray(GOOD)
    for place, value in edits:
        data[place] = value
    answered(bytes(data))


NUMBERS = st.integers(-1, 40) | st.sampled_from([2**31, 2**62, 2**64, 2**70]) | st.floats() | st.none() | st.booleans()
ENTRY = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "F16", "F64", "I8", "BF16", "", None, 3]),
        "shape": st.lists(NUMBERS, max_size=3) | st.sampled_from([[3], [3, 2]]) | NUMBERS,
        "data_offsets": st.lists(NUMBERS, max_size=3) | st.sampled_from([[0, 12], [12, 36]]),
    },
    optional={"more": st.text(max_size=3)},
)


@pytest.mark.case("E2", "any header", "read or refused")
@given(
    header=st.dictionaries(st.sampled_from(["bias", "weight", "x", "__metadata__"]), ENTRY | NUMBERS, max_size=4),
    data=st.binary(max_size=40),
)
def test_any_header_is_tensors_or_a_format_error(header: dict[str, Any], data: bytes) -> None:
    answered(raw(header, data))


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(data: bytes) -> None:
    refused(data)


def answered(data: bytes) -> None:
    try:
        found = tensors.unpack(data, SHAPES, "file")
    except FormatError as error:
        assert re.fullmatch(r"file: [^\n]+", str(error))  # noqa: PT017
    else:
        assert {name: value.shape for name, value in found.items()} == SHAPES
        assert all(np.isfinite(value).all() and value.dtype == np.float32 for value in found.values())


def test_the_size_limit_holds_every_file_of_the_shapes() -> None:
    assert tensors.size_limit(SHAPES) == 8 + 2**20 + 4 * 9
    assert len(GOOD) <= tensors.size_limit(SHAPES)
