"""Answers of the Open Inference Protocol; the expected ones were recorded from tritonserver 2.51."""

from __future__ import annotations

import base64
import json

import numpy as np
import pytest

from adaptertune_deploy.core.spec import HEAD_ONLY, TaskSpec
from adaptertune_deploy.serve.http.v2.infer_answer import answer
from adaptertune_deploy.serve.http.v2.infer_request import HEADER_LENGTH
from adaptertune_deploy.serve.protocol.bytes_tensor import pack
from adaptertune_deploy.serve.protocol.inference import InferRequest
from adaptertune_deploy.serve.protocol.models import Model
from adaptertune_deploy.serve.tasks.served_task import ServedTask

TASK = ServedTask(0, TaskSpec("ident", ("a", "b", "c", "d"), HEAD_ONLY))
IDENT = Model("ident", TASK, "INPUT0", "OUTPUT0", "FP32", (4,))


def test_plain_logits_in_json_and_binary() -> None:
    logits = [np.array([1, 2, 3, 4], dtype=np.float32), np.array([0.5, 0.1, -1, 0], dtype=np.float32)]
    text, headers = answer(InferRequest((b"",) * 2, "42"), IDENT, logits)
    assert headers == {"Content-Type": "application/json"}
    document = json.loads(text)
    assert document["id"] == "42"
    assert (document["model_name"], document["model_version"]) == ("ident", "1")
    assert document["outputs"][0]["shape"] == [2, 4]
    np.testing.assert_array_equal(np.float32(document["outputs"][0]["data"]), np.concatenate(logits))


def test_a_binary_answer_is_byte_for_byte_what_triton_sends() -> None:
    logits = [np.array([1, 2, 3, 4], dtype=np.float32)]
    found, headers = answer(InferRequest((b"",), binary=True), IDENT, logits)
    recorded = (
        "eyJtb2RlbF9uYW1lIjoiaWRlbnQiLCJtb2RlbF92ZXJzaW9uIjoiMSIsIm91dHB1dHMiOlt7Im5hbWUiOiJPVVRQVVQwIiwiZGF0YXR5cGUi"
        "OiJGUDMyIiwic2hhcGUiOlsxLDRdLCJwYXJhbWV0ZXJzIjp7ImJpbmFyeV9kYXRhX3NpemUiOjE2fX1dfQAAgD8AAABAAABAQAAAgEA="
    )
    expected = base64.b64decode(recorded)
    assert found == expected
    assert headers == {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(len(expected) - 16)}


@pytest.mark.parametrize(
    ("values", "count", "shape", "strings"),
    [
        ([1, 2, 3, 4], 2, [1, 2], ["4.000000:3:d", "3.000000:2:c"]),
        ([1, 2, 3, 4], 9, [1, 4], ["4.000000:3:d", "3.000000:2:c", "2.000000:1:b", "1.000000:0:a"]),
        ([0.5, -1.25, 0.5, 1e-7], 4, [1, 4], ["0.500000:0:a", "0.500000:2:c", "0.000000:3:d", "-1.250000:1:b"]),
    ],
)
def test_classification_as_triton_prints_it(
    values: list[float], count: int, shape: list[int], strings: list[str]
) -> None:
    logits = [np.array(values, dtype=np.float32)]
    text, _ = answer(InferRequest((b"",), classification=count), IDENT, logits)
    assert json.loads(text)["outputs"] == [{"name": "OUTPUT0", "datatype": "BYTES", "shape": shape, "data": strings}]
    raw, headers = answer(InferRequest((b"",), binary=True, classification=count), IDENT, logits)
    assert raw[int(headers[HEADER_LENGTH]) :] == pack(string.encode() for string in strings)
