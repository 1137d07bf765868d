from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptertune_deploy.core.errors import RequestError
from adaptertune_deploy.serve.grpc.bounds import check_infer
from adaptertune_deploy.serve.grpc.calls import decode
from adaptertune_deploy.serve.grpc.infer_request import read
from adaptertune_deploy.serve.grpc.messages import message
from adaptertune_deploy.serve.protocol.bytes_tensor import pack
from adaptertune_deploy.serve.protocol.models import image_model, tensor_model
from adaptertune_deploy.serve.tasks.served_task import ServedTask
from tests.builders import make_preprocess_spec, make_task
from tests.serve.fakes import status_of

PETS = image_model(ServedTask(0, make_task("pets")))
PIXELS = tensor_model(ServedTask(0, make_task("pets")), make_preprocess_spec(size=(1, 2)))
IMAGE = {"name": "image", "datatype": "BYTES", "shape": [2, 1]}
ROWS = {"name": "images", "datatype": "FP32", "shape": [2, 3, 1, 2]}
REQUEST = message("ModelInferRequest")
CHECK = partial(check_infer, rows=64)
VALUES = np.arange(12, dtype=np.float32)


def request(*inputs: dict[str, Any], **fields: Any) -> Any:
    return decode(REQUEST, REQUEST(inputs=list(inputs), **fields).SerializeToString(), CHECK)


def test_images_come_as_contents_and_in_binary_form() -> None:
    written = request({**IMAGE, "contents": {"bytes_contents": [b"one", b""]}})
    raw = request(IMAGE, raw_input_contents=[pack([b"one", b""])])
    assert read(written, PETS, 8).images == read(raw, PETS, 8).images == (b"one", b"")


def test_pixels_come_as_contents_and_in_binary_form() -> None:
    written = request({**ROWS, "contents": {"fp32_contents": VALUES.tolist()}})
    raw = request(ROWS, raw_input_contents=[VALUES.tobytes()])
    for given_ in (written, raw):
        images = read(given_, PIXELS, 8).images
        assert isinstance(images, np.ndarray)
        np.testing.assert_array_equal(images, VALUES.reshape(2, 3, 1, 2))


def test_options_are_read() -> None:
    parameters = {
        "priority": {"uint64_param": 1},
        "timeout": {"int64_param": 250_000},
        "mine": {"double_param": 0.5},
        "nothing": {},
    }
    outputs = [{"name": "logits", "parameters": {"classification": {"int64_param": 2}}}]
    found = read(
        request(IMAGE, raw_input_contents=[pack([b"", b""])], id="7", parameters=parameters, outputs=outputs), PETS, 8
    )
    assert (found.id, found.priority, found.timeout_s, found.classification) == ("7", 1, 0.25, 2)


@pytest.mark.parametrize(
    ("given_", "model", "text"),
    [
        (request(), PETS, "expected 1 inputs but got 0"),
        (request(IMAGE), PETS, "must have either 'contents' or an entry of 'raw_input_contents'"),
        (request({**IMAGE, "contents": {}}, raw_input_contents=[b""]), PETS, "must have either 'contents' or"),
        (request(IMAGE, raw_input_contents=[b"", b""]), PETS, "'raw_input_contents' has 2 entries, expected one"),
        (request(IMAGE, IMAGE), PETS, "already exists"),
        (request({**IMAGE, "shape": [-1, 1]}), PETS, "whole numbers from 0"),
        (request({**IMAGE, "shape": [9, 1]}), PETS, "batch-size must be <= 8"),
        (request({**IMAGE, "contents": {"bytes_contents": [b""]}}), PETS, "hold 2 values in 'bytes_contents', got 1"),
        (request({**IMAGE, "contents": {"fp32_contents": [0]}}), PETS, "in 'bytes_contents', got 'fp32_contents'"),
        (
            request({**ROWS, "contents": {"fp32_contents": [0] * 13}}),
            PIXELS,
            "hold 12 values in 'fp32_contents', got 13",
        ),
        (request({**ROWS, "contents": {"fp64_contents": [0] * 12}}), PIXELS, "got 'fp64_contents'"),
        (request({**ROWS, "contents": {"fp32_contents": [np.nan] * 12}}), PIXELS, "NaN or infinite"),
        (request(ROWS, raw_input_contents=[b"1234"]), PIXELS, "Expected 48, got 4"),
        (request(IMAGE, parameters={"triton_x": {"bool_param": True}}), PETS, "reserved"),
        (request(IMAGE, parameters={"sequence_id": {"int64_param": 1}}), PETS, "no sequences"),
        (request({**IMAGE, "parameters": {"shared_memory_region": {"string_param": "x"}}}), PETS, "shared memory"),
        (
            request(IMAGE, raw_input_contents=[pack([b"", b""])], parameters={"timeout": {"string_param": "1"}}),
            PETS,
            "'timeout' must be a whole number",
        ),
        (
            request(IMAGE, raw_input_contents=[pack([b"", b""])], outputs=[{"name": "x"}]),
            PETS,
            "unexpected inference output 'x'",
        ),
    ],
)
def test_a_wrong_request_is_one_clear_error(given_: Any, model: Any, text: str) -> None:
    with pytest.raises(RequestError, match=text) as caught:
        read(given_, model, 8)
    assert caught.value.status == 400


@given(st.data())
def test_mutated_bytes_give_a_request_or_a_request_error(data: st.DataObject) -> None:
    whole = request(ROWS, raw_input_contents=[VALUES.tobytes()], id="7", model_name="pets").SerializeToString()
    changed = bytearray(whole)
    for place, value in data.draw(st.lists(st.tuples(st.integers(0, len(whole) - 1), st.integers(0, 255)), max_size=4)):
        changed[place] = value
    cut = bytes(changed[: data.draw(st.integers(0, len(whole)))])
    assert status_of(lambda: read(decode(REQUEST, cut, CHECK), PIXELS, 8)) in (None, 400)
