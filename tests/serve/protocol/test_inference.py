from __future__ import annotations

from typing import Any

import pytest

from adaptertune_deploy.core.errors import RequestError
from adaptertune_deploy.serve.protocol.inference import InferRequest, check
from adaptertune_deploy.serve.protocol.models import tensor_model
from adaptertune_deploy.serve.tasks.served_task import ServedTask
from tests.builders import make_preprocess_spec, make_task

PIXELS = tensor_model(ServedTask(0, make_task("pets")), make_preprocess_spec(size=(8, 8)))
ONE = {"name": "images", "shape": [2, 3, 8, 8], "datatype": "FP32"}


def read(*inputs: dict[str, Any], **document: Any) -> InferRequest:
    return check({"inputs": list(inputs), **document}, PIXELS, 4, lambda entry, count: (b"x",) * count)


def test_a_request_with_all_its_options() -> None:
    outputs = [{"name": "logits", "parameters": {"classification": 3, "binary_data": True}}]
    found = read(ONE, id="7", outputs=outputs, parameters={"priority": 1, "timeout": 250_000, "mine": [1]})
    assert (found.images, found.id, found.binary, found.classification) == ((b"x", b"x"), "7", True, 3)
    assert (found.timeout_s, found.priority) == (0.25, 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "image"}, "unexpected inference input 'image' for model 'pets__tensor'"),
        ({"datatype": "BYTES"}, "data-type is 'BYTES', but model 'pets__tensor' expects 'FP32'"),
        ({"datatype": "FP16"}, "data-type is 'FP16', but"),
        ({"datatype": "FP8"}, "invalid datatype for input images"),
        ({"shape": [3, 8, 8]}, r"Expected \[-1,3,8,8\], got \[3,8,8\]"),
        ({"shape": [1, 8, 8, 3]}, r"Expected \[-1,3,8,8\], got \[1,8,8,3\]"),
        ({"shape": [0, 3, 8, 8]}, r"got \[0,3,8,8\]"),
        ({"shape": [5, 3, 8, 8]}, "batch-size must be <= 4 for 'pets__tensor', got 5"),
        ({"parameters": {"shared_memory_region": "x"}}, "shared memory region"),
    ],
)
def test_an_input_of_another_model_is_refused_with_what_was_expected(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        read({**ONE, **changes})
    assert caught.value.status == 400


def test_inputs_come_once() -> None:
    with pytest.raises(RequestError, match="expected 1 inputs but got 0"):
        read()
    with pytest.raises(RequestError, match="input 'images' already exists"):
        read(ONE, ONE)
