from __future__ import annotations

import base64
import json
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptertune_deploy.core.errors import RequestError
from adaptertune_deploy.serve.http.v2.json_tensor import elements, numbers
from adaptertune_deploy.serve.protocol.models import image_model, tensor_model
from adaptertune_deploy.serve.tasks.served_task import ServedTask
from tests.builders import make_preprocess_spec, make_task

PETS = image_model(ServedTask(0, make_task("pets")))
PIXELS = tensor_model(ServedTask(0, make_task("pets")), make_preprocess_spec(size=(1, 2)))
values = st.lists(st.binary(max_size=30), max_size=6)


def raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(value).encode())


@given(values)
def test_json_form_comes_back_flat_and_nested(found: list[bytes]) -> None:
    strings = [base64.b64encode(value).decode() for value in found]
    assert elements(raw(strings), len(found), PETS) == tuple(found)
    assert elements(raw([[string] for string in strings]), len(found), PETS) == tuple(found)


@pytest.mark.case("C5", "elements that are no base64, or of another number", "400")
@pytest.mark.case("D11", "URLs as images", '400 "URLs are not accepted", never fetched')
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
        elements(raw(data), 1, PETS)


floats = st.floats(-10_000, 10_000, width=32, allow_subnormal=False)


@given(st.integers(1, 3).flatmap(lambda count: st.lists(floats, min_size=6 * count, max_size=6 * count)))
def test_numbers_come_flat_and_nested_as_the_shape_says(found: list[float]) -> None:
    expected = np.array(found, dtype=np.float32).reshape(-1, 3, 1, 2)
    for written in (found, expected.tolist()):
        read = numbers(raw(written), len(expected), PIXELS)
        assert read.dtype == np.float32
        np.testing.assert_array_equal(read, expected)


@pytest.mark.case("C1", "numbers that do not fill the shape, or do not fit float32", "400")
@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([1, 2, 3], "does not hold the 6 values of its shape"),
        ([1, 2, 3, 4, 5, 6, 7], "does not hold the 6 values of its shape"),
        ([], "does not hold the 6 values of its shape"),
        ([[[[1, 2]], [[3, 4]], [[5]]]], "does not hold the 6 values of its shape"),
        ([[[[1, 2, 3]], [[4, 5, 6]]]], "does not hold the 6 values of its shape"),
        ([[1, 2], [3, 4], [5, 6]], "must hold numbers, flat or nested as its shape says"),
        (["a", "b", "c", "d", "e", "f"], "must hold numbers"),
        ([1, 2, 3, 4, 5, True], "must hold numbers"),
        ([1, 2, 3, 4, 5, None], "must hold numbers"),
        (7, "must hold numbers"),
        ([1, 2, 3, 4, 5, 1e39], "NaN or infinite"),
    ],
)
def test_numbers_that_are_no_tensor_of_the_shape_are_refused(data: Any, message: str) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        numbers(raw(data), 1, PIXELS)
    assert caught.value.status == 400
