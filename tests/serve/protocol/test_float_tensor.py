from __future__ import annotations

import struct

import numpy as np
import pytest

from adaptertune_deploy.core.errors import RequestError
from adaptertune_deploy.serve.protocol.float_tensor import unpack
from adaptertune_deploy.serve.protocol.models import tensor_model
from adaptertune_deploy.serve.tasks.served_task import ServedTask
from tests.builders import make_preprocess_spec, make_task

PIXELS = tensor_model(ServedTask(0, make_task("pets")), make_preprocess_spec(size=(1, 2)))


def test_the_layout_is_little_endian_row_by_row() -> None:
    found = unpack(struct.pack("<12f", *range(12)), 2, PIXELS)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.arange(12).reshape(2, 3, 1, 2))


@pytest.mark.case("C1", "another number of bytes than the shape takes", "400")
@pytest.mark.parametrize("size", [0, 23, 25, 48])
def test_another_number_of_bytes_is_refused(size: int) -> None:
    with pytest.raises(RequestError, match=rf"for input 'images' for model 'pets__tensor'. Expected 24, got {size}$"):
        unpack(bytes(size), 1, PIXELS)


@pytest.mark.case("C10", "NaN, infinity and 3e38 as pixels", "400")
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 3e38, -3e38, 10_001, -10_001])
@pytest.mark.parametrize("place", [0, 3, 5])
def test_what_is_no_pixel_is_refused(value: float, place: int) -> None:
    values = [0.0] * 6
    values[place] = value
    with pytest.raises(RequestError, match="NaN or infinite, or beyond 10,000, which") as caught:
        unpack(struct.pack("<6f", *values), 1, PIXELS)
    assert caught.value.status == 400


def test_pixels_that_are_not_normalised_are_taken() -> None:
    values = [0.0, 255.0, -128.0, 10_000.0, -10_000.0, 1e-40]
    np.testing.assert_array_equal(unpack(struct.pack("<6f", *values), 1, PIXELS).ravel(), np.float32(values))
