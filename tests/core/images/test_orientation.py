"""core.images.orientation against Pillow's own reader of EXIF."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from adaptertune_deploy.core.images.orientation import orientation_of, upright
from tests.builders import make_image

ORDERS = {"<": b"II", ">": b"MM"}
# (tag, kind, count, value) of a field that fits into its entry
FIELDS = st.lists(
    st.tuples(
        st.sampled_from([0x0100, 0x010F, 0x0111, 0x0113, 0x0131]), st.sampled_from([1, 3, 4]), st.just(1)
    ).flatmap(lambda field: st.tuples(*map(st.just, field), st.integers(0, 255))),
    max_size=5,
    unique_by=lambda field: field[0],
)


def block(order: str, fields: list[tuple[int, int, int, int]], prefix: bytes = b"Exif\0\0") -> bytes:
    data = ORDERS[order] + struct.pack(f"{order}HIH", 42, 8, len(fields))
    for tag, kind, count, value in fields:
        packed = struct.pack(f"{order}{ {1: 'B', 3: 'H', 4: 'I'}[kind] }", value).ljust(4, b"\0")
        data += struct.pack(f"{order}HHI", tag, kind, count) + packed
    return prefix + data + bytes(4)


def pillows(exif: bytes) -> int:
    image = Image.new("RGB", (1, 1))
    image.info["exif"] = exif
    return int(image.getexif().get(0x0112, 1))


@given(st.sampled_from("<>"), FIELDS, FIELDS, st.integers(1, 8), st.sampled_from([3, 4]))
def test_an_orientation_is_found_as_pillow_finds_it(
    order: str, before: list[tuple[int, int, int, int]], after: list[tuple[int, int, int, int]], value: int, kind: int
) -> None:
    exif = block(order, [*before, (0x0112, kind, 1, value), *after])
    assert orientation_of(exif) == pillows(exif) == value
    assert orientation_of(exif.removeprefix(b"Exif\0\0")) == value
    assert orientation_of(block(order, [*before, *after])) == 1


@pytest.mark.parametrize("value", range(1, 9))
def test_an_image_is_turned_as_pillow_turns_it(value: int) -> None:
    image = make_image(7, 5)
    image.info["exif"] = block("<", [(0x0112, 3, 1, value)])
    turned = upright(image, image.info["exif"])
    np.testing.assert_array_equal(np.asarray(turned), np.asarray(ImageOps.exif_transpose(image)), strict=True)


@pytest.mark.parametrize("value", [0, 9, 255, 65535])
def test_a_number_that_means_nothing_turns_nothing(value: int) -> None:
    assert orientation_of(block("<", [(0x0112, 3, 1, value)])) == 1


@given(st.binary(max_size=60), st.sampled_from([b"", b"II*\0", b"MM\0*", b"Exif\0\0II*\0\x08\0\0\0"]))
def test_a_damaged_block_never_raises(data: bytes, start: bytes) -> None:
    assert 1 <= orientation_of(start + data) <= 8


@given(st.integers(0, 40))
def test_a_block_that_ends_early_turns_nothing_or_as_it_says(length: int) -> None:
    whole = block(">", [(0x0112, 3, 1, 6)])
    assert orientation_of(whole[:length]) in (1, 6)
    assert orientation_of(whole) == 6


def test_an_entry_of_many_values_is_no_orientation() -> None:
    assert orientation_of(block("<", [(0x0112, 3, 2, 6)])) == 1
