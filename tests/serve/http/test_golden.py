"""Traffic recorded from NVIDIA's tritonserver 2.51, sent again: the answers are the same, or differ on purpose.

docs/protocol.md lists the differences.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.serve.conftest import Running
from tests.serve.fakes import check_error_text
from tests.serve.http.golden_server import LINES, Content, content, golden_server

HEADER_LENGTH = "inference-header-content-length"
# case -> what our error says: the fault that the case is about, and nothing that would be found before it.
SAYS = {
    "server-metadata-slash": "Not Found",
    "model-metadata-bad-version": "'ident' version 9 is not found",
    "model-metadata-unknown": "'nope' is not found",
    "model-ready-bad-version": "'ident' version 9 is not found",
    "model-ready-unknown": "'nope' is not found",
    "model-config-unknown": "'nope' is not found",
    "infer-classification-negative": "'classification' must lie between 0 and",
    "infer-bytes-bad-prefix": "expecting string of length 9999 but only 15 bytes available",
    "infer-bytes-count-mismatch": "expected 2 string elements .* got 1",
    "infer-gzip-broken": "gzip data has no end",
    "infer-encoding-br": "unsupported Content-Encoding",
    "bad-shape": r"Expected \[-1,4\], got \[1,5\]",
    "bad-rank": r"Expected \[-1,4\], got \[4\]",
    "batch-too-large": "batch-size must be <= 8 for 'ident', got 9",
    "batch-zero": r"Expected \[-1,4\], got \[0,4\]",
    "data-count-mismatch": "does not hold the 4 values of its shape",
    "data-is-string": "must hold numbers",
    "data-missing": "must have either 'data' or the parameter 'binary_data_size'",
    "bad-datatype": "data-type is 'INT32', but model 'ident' expects 'FP32'",
    "unknown-datatype": "invalid datatype for input INPUT0",
    "negative-dim": "shape of input 'INPUT0' must be an array of whole numbers from 0",
    "unknown-input": "unexpected inference input 'WRONG' for model 'ident'",
    "unknown-output": "unexpected inference output 'NOPE' for model 'ident'",
    "duplicate-input": "input 'INPUT0' already exists in request",
    "empty-inputs": r"expected 1 inputs but got 0 inputs for model 'ident'; missing required input\(s\) \['INPUT0'\]",
    "no-inputs-key": "must be a JSON object with an array 'inputs'",
    "json-array": "must be a JSON object with an array 'inputs'",
    "not-json": "failed to parse the request JSON",
    "empty-body": "the body is empty",
    "json-nan": r"failed to parse the request JSON: invalid character \(byte 68\)",
    "reserved-parameter": "'triton_' are reserved",
    "infer-unknown-model": "'nope' is not found",
    "infer-bad-version": "'ident' version 9 is not found",
    "infer-get": "Method Not Allowed",
    "unknown-path": "Not Found",
    "header-length-too-large": r"range \(0, 13\), got: 99999",
    "header-length-negative": r"range \(0, 13\), got: -1",
    "header-length-not-a-number": r"range \(0, 13\), got: abc",
    "binary-too-short": "expecting 8 additional bytes for model 'ident'",
    "binary-trailing-bytes": "unexpected additional input data for model 'ident': 2 bytes",
    "binary-size-negative": "'binary_data_size' must lie between 0 and",
}
REPOSITORY_SAYS = {
    "index-get": "Method Not Allowed",
    "load-unknown": "failed to load 'nope'",
    "load-traversal": "Not Found",  # a name is one part of a path
    **dict.fromkeys(
        ("model-ready-after-unload", "infer-after-unload", "config-after-unload"), "unknown model: 'ident' is not found"
    ),
}
# case -> status, where the recording's own line leaves it open
OPEN = {"infer-bytes-json": 200, "live-head": 200, "root": 200, "logging-get": 200}
# Answered with 200, and another document than Triton's: health says so in JSON, the page is ours, base64 is decoded.
OWN = {
    "live": b'{"live":true}',
    "ready": b'{"ready":true}',
    "model-ready": b'{"name":"ident","ready":true}',
    "live-head": b"",
    "root": None,
    "infer-bytes-json": b'{"model_name":"img","model_version":"1","outputs":[{"name":"logits","datatype":"FP32",'
    b'"shape":[1,3],"data":[5.0,104.0,0.0]}]}',
}
IDENTITY = {"platform", "backend", "extensions", "parameters"}
# How a server batches and on what it runs is its own.
RUNS = {"dynamic_batching", "instance_group", "default_model_filename"}
COUNTS = {"last_inference", "inference_count", "execution_count", "count", "ns", "batch_stats", "log_info"}


def is_about_the_repository(line: dict[str, Any]) -> bool:
    return line["request"]["path"].startswith("/v2/repository/") or line["case"].endswith("-after-unload")


PLAIN = [line for line in LINES if not is_about_the_repository(line)]


@pytest.fixture(scope="module")
def golden() -> Iterator[Running]:
    with golden_server() as (running, _):
        yield running


def ask(client: httpx.Client, line: dict[str, Any]) -> httpx.Response:
    request, sent = line["request"], content(line["request"])
    address = f"{str(client.base_url).rstrip('/')}{request['path']}"  # as it is: httpx would resolve its dots
    return client.request(request["method"], address, headers=dict(sent.headers), content=sent.body)


def parts(found: Content) -> tuple[Any, bytes]:
    """Return an answer's JSON and the tensors behind it."""
    body = gzip.decompress(found.body) if found.headers.get("content-encoding") == "gzip" else found.body
    length = int(found.headers.get(HEADER_LENGTH, len(body)))
    return json.loads(body[:length]), body[length:]


def comparable(document: Any, of: Any) -> Any:
    """Return a document with what both servers say: no names of their own, no counts, none of Triton's other keys."""
    if isinstance(document, dict):
        keys = (document.keys() & of.keys()) - IDENTITY - COUNTS - RUNS
        return {key: comparable(document[key], of[key]) for key in sorted(keys)}
    if isinstance(document, list) and document and isinstance(document[0], dict):
        return [comparable(one, other) for one, other in zip(document, of, strict=True)]
    return document


@pytest.mark.parametrize("line", PLAIN, ids=lambda line: line["case"])
def test_an_answer_is_tritons(golden: Running, line: dict[str, Any]) -> None:
    case, response = line["case"], ask(golden.client, line)
    expected = line["atd"].get("status", OPEN.get(case))
    assert response.status_code == expected
    if expected != 200:
        if expected == 405:
            assert response.headers["allow"]
        (error,) = response.json().values()
        assert list(response.json()) == ["error"]
        check_error_text(error)
        assert re.search(SAYS[case], error)
    elif case in OWN:
        assert OWN[case] in (None, response.content)
    else:
        found, raw = parts(Content(dict(response.headers), response.content))
        recorded, recorded_raw = parts(content(line["response"]))
        assert raw == recorded_raw
        if case == "server-metadata":
            found, recorded = {"version": ""}, {"version": ""}
        if case.startswith("infer"):
            if raw:
                assert response.headers["content-type"] == "application/octet-stream"
            assert found == recorded
        assert comparable(found, recorded) == comparable(recorded, found)


def test_nothing_agrees_for_want_of_a_look() -> None:
    """Every line that is refused has a text to be refused with, and none is left out."""
    refused = {line["case"] for line in PLAIN if line["atd"].get("status", OPEN.get(line["case"])) != 200}
    assert refused == set(SAYS)
    assert {line["case"] for line in PLAIN if "status" not in line["atd"]} == set(OPEN)
    assert len(PLAIN) + sum(map(is_about_the_repository, LINES)) == 88


def test_what_is_about_the_repository_is_tritons_on_the_admin_listener_in_its_order() -> None:
    asked = [line for line in LINES if is_about_the_repository(line)]
    assert len(asked) == 13
    with golden_server() as (running, admin):
        for line in asked:
            repository = line["request"]["path"].startswith("/v2/repository/")
            response, case = ask(admin if repository else running.client, line), line["case"]
            allowed = {400, 404} if case == "load-traversal" else {line["atd"]["status"]}
            assert response.status_code in allowed, case
            if response.status_code != 200:
                assert re.search(REPOSITORY_SAYS[case], response.json()["error"]), case
            elif case.startswith("index"):
                assert response.json() == json.loads(content(line["response"]).body)
            else:
                assert response.content == b""


def test_what_the_descriptions_say_is_compared(golden: Running) -> None:
    for case, keys in {
        "model-metadata": {"name", "versions", "inputs", "outputs"},
        "model-config": {"name", "max_batch_size", "input", "output", "version_policy"},
        "model-stats-before": {"model_stats"},
    }.items():
        (line,) = (line for line in LINES if line["case"] == case)
        recorded = json.loads(content(line["response"]).body)
        assert keys <= set(comparable(recorded, ask(golden.client, line).json()))
