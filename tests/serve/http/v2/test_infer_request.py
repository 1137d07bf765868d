"""Requests of the Open Inference Protocol; the expected messages were recorded from tritonserver 2.51."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptertune_deploy.core.errors import RequestError
from adaptertune_deploy.serve.http.v2.infer_answer import answer
from adaptertune_deploy.serve.http.v2.infer_request import effort, parse
from adaptertune_deploy.serve.protocol.bytes_tensor import pack
from adaptertune_deploy.serve.protocol.inference import InferRequest
from adaptertune_deploy.serve.protocol.models import image_model, tensor_model
from adaptertune_deploy.serve.tasks.served_task import ServedTask
from tests.builders import make_preprocess_spec, make_task
from tests.serve.fakes import status_of

PETS = image_model(ServedTask(0, make_task("pets", classes=4)))
PIXELS = tensor_model(ServedTask(0, make_task("pets", classes=4)), make_preprocess_spec(size=(1, 2)))
JPEG = b"\xff\xd8\xff\xe0jpegbytes\x00\x00"
ONE = {"name": "image", "shape": [1, 1], "datatype": "BYTES", "data": ["aGVsbG8="]}


def body(*parts: bytes, **document: Any) -> tuple[bytes, str]:
    """Return a binary request's body and its JSON length, as tritonclient makes them."""
    text = json.dumps(document).encode()
    return text + pack(parts), str(len(text))


def binary_input(*parts: bytes, **changes: Any) -> dict[str, Any]:
    size = {"binary_data_size": len(pack(parts))}
    return {"name": "image", "shape": [len(parts), 1], "datatype": "BYTES", "parameters": size, **changes}


def read(data: bytes, length: str | None = None, max_images: int = 8) -> InferRequest:
    return parse(data, length, PETS, max_images)


def test_the_request_of_a_real_client_with_all_its_options() -> None:
    text = (
        b'{"id":"7","inputs":[{"name":"image","shape":[1,1],"datatype":"BYTES","parameters":{"binary_data_size":19}}],'
        b'"outputs":[{"name":"logits","parameters":{"classification":3,"binary_data":true}}],'
        b'"parameters":{"priority":1,"timeout":250000,"task":"pets"}}'
    )
    assert len(text) == 250
    found = read(text + b"\x0f\x00\x00\x00" + JPEG, "250")
    assert found == InferRequest((JPEG,), "7", binary=True, classification=3, timeout_s=0.25, priority=1)


@pytest.mark.parametrize(("asked", "level"), [(0, 2), (1, 1), (2, 2), (3, 3), (4, 3), (2**64 - 1, 3)])
def test_priorities_are_levels_of_which_0_is_the_usual_one(asked: int, level: int) -> None:
    assert read(json.dumps({"inputs": [ONE], "parameters": {"priority": asked}}).encode()).priority == level


def test_json_images_are_base64_and_the_answer_is_json_by_default() -> None:
    assert read(json.dumps({"inputs": [ONE]}).encode()) == InferRequest((b"hello",))
    two = {**ONE, "shape": [2, 1], "data": [["aGVsbG8="], [base64.b64encode(JPEG).decode()]]}
    assert read(json.dumps({"inputs": [two], "outputs": []}).encode()).images == (b"hello", JPEG)


def test_a_header_length_of_zero_makes_the_body_one_image() -> None:
    assert read(JPEG, "0") == InferRequest((JPEG,), binary=True)


@pytest.mark.parametrize(
    ("parameters", "outputs", "expected"),
    [
        ({"binary_data_output": True}, None, True),
        ({"binary_data_output": True}, [{"name": "logits"}], True),
        ({"binary_data_output": True}, [{"name": "logits", "parameters": {"binary_data": False}}], False),
        ({}, [{"name": "logits", "parameters": {"binary_data": True}}], True),
        ({}, None, False),
    ],
)
def test_an_outputs_own_wish_wins_over_the_requests(parameters: Any, outputs: Any, expected: bool) -> None:
    document = {"inputs": [ONE], "parameters": parameters, **({"outputs": outputs} if outputs else {})}
    assert read(json.dumps(document).encode()).binary is expected


WRONG_DOCUMENTS: list[tuple[Any, str]] = [
    ([], "JSON object with an array 'inputs'"),
    ({}, "JSON object with an array 'inputs'"),
    ({"inputs": {}}, "JSON object with an array 'inputs'"),
    ({"inputs": []}, "expected 1 inputs but got 0 inputs for model 'pets'"),
    ({"inputs": [7]}, "every input must be an object with a text 'name'"),
    ({"inputs": [ONE, ONE]}, "input 'image' already exists in request"),
    ({"inputs": [{**ONE, "name": "WRONG"}]}, "unexpected inference input 'WRONG' for model 'pets'"),
    ({"inputs": [{**ONE, "datatype": "FP7"}]}, "invalid datatype for input image"),
    ({"inputs": [{**ONE, "datatype": ["BYTES"]}]}, "invalid datatype for input image"),
    ({"inputs": [{**ONE, "datatype": "FP32"}]}, "data-type is 'FP32', but model 'pets' expects 'BYTES'"),
    ({"inputs": [{**ONE, "shape": [1, 5]}]}, r"Expected \[-1,1\], got \[1,5\]"),
    ({"inputs": [{**ONE, "shape": [1]}]}, r"Expected \[-1,1\], got \[1\]"),
    ({"inputs": [{**ONE, "shape": [0, 1]}]}, r"Expected \[-1,1\], got \[0,1\]"),
    ({"inputs": [{**ONE, "shape": [9, 1]}]}, "batch-size must be <= 8 for 'pets', got 9"),
    ({"inputs": [{**ONE, "shape": [2**60 + 2, 1]}]}, "batch-size must be <= 8"),
    ({"inputs": [{**ONE, "shape": [-1, 1]}]}, "must be an array of whole numbers from 0"),
    ({"inputs": [{**ONE, "shape": [1.0, 1]}]}, "must be an array of whole numbers from 0"),
    ({"inputs": [{**ONE, "shape": [True, 1]}]}, "must be an array of whole numbers from 0"),
    ({"inputs": [{**ONE, "shape": [2**63, 1]}]}, "must be an array of whole numbers from 0"),
    ({"inputs": [{**ONE, "shape": "1"}]}, "'shape' must be an array"),
    ({"inputs": [{key: ONE[key] for key in ("name", "datatype", "data")}]}, "'shape' must be an array"),
    ({"inputs": [{key: ONE[key] for key in ("name", "datatype", "shape")}]}, "either 'data' or the parameter"),
    ({"inputs": [{**ONE, "parameters": {"binary_data_size": 3}}]}, "either 'data' or the parameter"),
    ({"inputs": [binary_input(JPEG)]}, "expecting 19 additional bytes for model 'pets'"),
    ({"inputs": [binary_input(parameters={"binary_data_size": -1}, shape=[1, 1])]}, "must lie between 0 and"),
    ({"inputs": [binary_input(parameters={"binary_data_size": True}, shape=[1, 1])]}, "must be a whole number"),
    ({"inputs": [{**ONE, "parameters": {"shared_memory_region": "x"}}]}, "shared memory region"),
    ({"inputs": [{**ONE, "parameters": 3}]}, "'parameters' must be an object"),
    ({"inputs": [{**ONE, "data": ["http://169.254.169.254/"]}]}, "URLs are not accepted"),
    ({"inputs": [ONE], "id": 7}, "'id' must be text"),
    ({"inputs": [ONE], "outputs": [{"name": "NOPE"}]}, "unexpected inference output 'NOPE' for model 'pets'"),
    ({"inputs": [ONE], "outputs": [{"name": "logits"}] * 2}, "output 'logits' already exists in request"),
    ({"inputs": [ONE], "outputs": [{"name": "logits"}] * 10_000}, "output 'logits' already exists in request"),
    ({"inputs": [ONE], "outputs": [{}]}, "every output must be an object with a text 'name'"),
    ({"inputs": [ONE], "outputs": 3}, "'outputs' must be an array"),
    ({"inputs": [ONE], "outputs": [{"name": "logits", "parameters": {"classification": -1}}]}, "'classification' must"),
    (
        {"inputs": [ONE], "outputs": [{"name": "logits", "parameters": {"binary_data": 1}}]},
        "'binary_data' must be true",
    ),
    (
        {"inputs": [ONE], "outputs": [{"name": "logits", "parameters": {"shared_memory_region": "x"}}]},
        "shared memory region",
    ),
    ({"inputs": [ONE], "parameters": {"triton_x": 1}}, "'triton_' are reserved"),
    ({"inputs": [ONE], "parameters": {"headers": {}}}, "'headers' is reserved"),
    ({"inputs": [ONE], "parameters": {"sequence_id": 3}}, "'sequence_id' is reserved"),
    ({"inputs": [ONE], "parameters": {"timeout": -5}}, "'timeout' must lie between"),
    ({"inputs": [ONE], "parameters": {"timeout": "5"}}, "'timeout' must be a whole number"),
    ({"inputs": [ONE], "parameters": {"priority": 0.5}}, "'priority' must be a whole number"),
    ({"inputs": [ONE], "parameters": {"binary_data_output": "yes"}}, "'binary_data_output' must be true or false"),
]


@pytest.mark.case("C1", "shapes of 2^60, 2^63, negative, float, bool, text", "400 that names the input")
@pytest.mark.case("C3", "duplicate, unknown and missing inputs and outputs", "400 that names them")
@pytest.mark.case("C10", "reserved parameters, wrong `timeout` and `priority`", "400")
@pytest.mark.case("D11", "a URL as an image", '400 "URLs are not accepted", never fetched')
@pytest.mark.parametrize(("document", "message"), WRONG_DOCUMENTS)
def test_a_wrong_document_is_one_clear_error(document: Any, message: str) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        read(json.dumps(document).encode())
    assert caught.value.status == 400


@pytest.mark.case("C4", "`Inference-Header-Content-Length` beyond the body, negative, no number", "400")
@pytest.mark.parametrize("length", ["99999", "-1", "abc", "", "9" * 5000, "\u0663", "1.0"])
def test_a_wrong_header_length_is_refused(length: str) -> None:
    with pytest.raises(RequestError, match="inference header size should be in range"):
        read(b'{"inputs":[]}', length)


@pytest.mark.parametrize("length", [None, "0"])
def test_an_empty_body_is_refused(length: str | None) -> None:
    with pytest.raises(RequestError, match="the body is empty"):
        read(b"", length)


@pytest.mark.case("C4", "`binary_data_size` other than what is there", "400")
def test_binary_data_must_be_exactly_what_was_announced() -> None:
    data, length = body(JPEG, inputs=[binary_input(JPEG)])
    assert read(data, length).images == (JPEG,)
    with pytest.raises(RequestError, match="unexpected additional input data for model 'pets': 2 bytes"):
        read(data + b"xx", length)
    with pytest.raises(RequestError, match="expecting 8 additional bytes"):
        read(data[:-8], length)
    data, length = body(JPEG, inputs=[binary_input(JPEG, shape=[2, 1])])
    with pytest.raises(RequestError, match=r"expected 2 string elements .* got 1"):
        read(data, length)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["image", "BYTES"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
fields = st.sampled_from(["name", "shape", "datatype", "data", "parameters", "binary_data_size", "x"])


@pytest.mark.case("C13", "mutated documents, one by one", "400 or parsed")
@given(
    st.dictionaries(fields, anything, max_size=3),
    st.dictionaries(st.sampled_from(["id", "inputs", "outputs", "parameters"]), anything, max_size=2),
    st.none() | st.text(max_size=6) | st.integers(-5, 300).map(str),
    st.binary(max_size=30),
)
def test_mutated_documents_give_a_request_or_a_request_error(
    changes: dict[str, Any], document: dict[str, Any], length: str | None, tail: bytes
) -> None:
    text = json.dumps({"inputs": [{**ONE, **changes}], **document}).encode()
    check_only_request_errors(text + tail, length)


@given(st.data())
def test_mutated_bytes_give_a_request_or_a_request_error(data: st.DataObject) -> None:
    whole, length = body(JPEG, b"", inputs=[binary_input(JPEG, b"")], outputs=[{"name": "logits"}])
    changed = bytearray(whole)
    for place, value in data.draw(st.lists(st.tuples(st.integers(0, len(whole) - 1), st.integers(0, 255)), max_size=4)):
        changed[place] = value
    cut = data.draw(st.integers(0, len(whole)))
    check_only_request_errors(bytes(changed[:cut] if cut % 2 else changed), length)


def check_only_request_errors(data: bytes, length: str | None) -> None:
    status = status_of(read, data, length)
    assert status in (None, 400)
    if status is None:
        found = read(data, length)
        answer(found, PETS, [np.zeros(4, dtype=np.float32)] * len(found.images))


@pytest.mark.parametrize(
    ("header_length", "json", "binary", "like"),
    [
        (None, 1000, 0, 1000),
        ("1000", 1000, 1600, 1100),
        ("0", 0, 1600, 100),
        ("9999", 1000, 0, 1000),
        ("-1", 1000, 0, 1000),
        ("9" * 30, 1000, 0, 1000),
    ],
)
def test_json_is_what_takes_long(header_length: str | None, json: int, binary: int, like: int) -> None:
    assert effort(header_length, bytes(json + binary)) == like
