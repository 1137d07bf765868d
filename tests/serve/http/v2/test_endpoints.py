"""The /v2 endpoints over real HTTP; statuses and texts as in the recorded traffic of tritonserver 2.51."""

from __future__ import annotations

import base64
import functools
import gc
import gzip
import json
import re
import socket
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.core.images import preprocess
from adaptertune_deploy.serve.http.v2.infer_request import HEADER_LENGTH
from adaptertune_deploy.serve.protocol.bytes_tensor import pack
from adaptertune_deploy.serve.settings import Settings
from tests.builders import encode, make_image, make_preprocess_spec
from tests.serve.conftest import Launcher, Running
from tests.serve.fakes import WAIT_S, FakeEngine, make_adapters, reference
from tests.serve.http.raw_http import Wire, statuses
from tests.serve.http.v2.test_infer_request import WRONG_DOCUMENTS

UNKNOWN = "Request for unknown model: 'nope' is not found"


def logits_of(image: bytes, task: int = 0) -> np.ndarray[Any, np.dtype[np.float64]]:
    return reference(preprocess.preprocess(image, make_preprocess_spec()), make_adapters()[task])


def json_request(*images: bytes, **more: Any) -> dict[str, Any]:
    data = [base64.b64encode(image).decode() for image in images]
    return {"inputs": [{"name": "image", "shape": [len(images), 1], "datatype": "BYTES", "data": data}], **more}


def test_health_and_metadata(server: Running) -> None:
    assert server.client.get("/v2/health/live").json() == {"live": True}
    assert server.client.get("/v2/health/ready").json() == {"ready": True}
    assert server.client.get("/v2").json()["name"] == "adaptertune-deploy"
    assert server.client.get("/v2/models").json() == {
        "models": [f"{task}{end}" for task in ("pets", "flowers", "digits") for end in ("", "__tensor")]
    }
    for path in ("/v2/models/pets", "/v2/models/pets/versions/1"):
        assert server.client.get(path).json()["outputs"] == [{"name": "logits", "datatype": "FP32", "shape": [-1, 3]}]
        assert server.client.get(f"{path}/ready").json() == {"name": "pets", "ready": True}
        assert server.client.get(f"{path}/config").json()["output"][0]["dims"] == [3]
        assert server.client.get(f"{path}/stats").json()["model_stats"][0]["name"] == "pets"
    names = [entry["name"] for entry in server.client.get("/v2/models/stats").json()["model_stats"]]
    assert names == ["pets", "flowers", "digits"]


@pytest.mark.parametrize(
    ("method", "path", "status", "error"),
    [
        ("GET", "/v2/", 404, "Not Found"),
        ("GET", "/v2/nonsense", 404, "Not Found"),
        ("GET", "/v2/models/nope", 404, UNKNOWN),
        ("GET", "/v2/models/nope__tensor", 404, "Request for unknown model: 'nope__tensor' is not found"),
        (
            "GET",
            "/v2/models/pets__tensor/versions/2",
            404,
            "Request for unknown model: 'pets__tensor' version 2 is not found",
        ),
        ("GET", "/v2/models/nope/ready", 404, UNKNOWN),
        ("GET", "/v2/models/nope/config", 404, UNKNOWN),
        ("GET", "/v2/models/nope/stats", 404, UNKNOWN),
        ("POST", "/v2/models/nope/infer", 404, UNKNOWN),
        ("GET", "/v2/models/pest", 404, "Request for unknown model: 'pest' is not found. Did you mean 'pets'?"),
        ("GET", "/v2/models/pets/versions/9", 404, "Request for unknown model: 'pets' version 9 is not found"),
        ("GET", "/v2/models/pets/versions/9/ready", 404, "Request for unknown model: 'pets' version 9 is not found"),
        ("POST", "/v2/models/pets/versions/9/infer", 404, "Request for unknown model: 'pets' version 9 is not found"),
        ("GET", "/v2/models/pets/infer", 405, "Method Not Allowed"),
        ("POST", "/v2/health/live", 405, "Method Not Allowed"),
        ("DELETE", "/v2/models/pets", 405, "Method Not Allowed"),
    ],
)
def test_what_is_not_there(server: Running, method: str, path: str, status: int, error: str) -> None:
    response = server.client.request(method, path)
    assert (response.status_code, response.json()) == (status, {"error": error})
    assert ("allow" in response.headers) == (status == 405)


@pytest.mark.case("C8", "model names that climb, NUL, CRLF, 10 kB, invalid UTF-8", "404 on every route")
@pytest.mark.parametrize(
    "name", ["../etc", "..%2f..%2fetc", "%2e%2e", "%00", "a%0d%0ab", "x" * 10_000, "%20", "%ed%a0%80", "p%C3%A9ts"]
)
def test_strange_model_names_are_unknown_models(server: Running, name: str) -> None:
    for path in ("", "/ready", "/config", "/stats"):
        response = server.client.get(f"{server.url}/v2/models/{name}{path}")
        assert response.status_code == 404
        assert list(response.json()) == ["error"]


def test_json_images_and_logits(server: Running) -> None:
    images = [encode(make_image(seed=seed)) for seed in range(2)]
    response = server.client.post("/v2/models/flowers/infer", json=json_request(*images, id="42"))
    document = response.json()
    assert (document["id"], document["model_name"], document["model_version"]) == ("42", "flowers", "1")
    (output,) = document["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == ("logits", "FP32", [2, 5])
    expected = np.concatenate([logits_of(image, 1) for image in images])
    np.testing.assert_allclose(output["data"], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("encoding", ["", "gzip", "deflate"])
def test_a_binary_request_in_every_encoding(server: Running, png: bytes, encoding: str) -> None:
    tensor = pack([png])
    parameters = {"binary_data_size": len(tensor)}
    entry = {"name": "image", "shape": [1, 1], "datatype": "BYTES", "parameters": parameters}
    text = json.dumps({"inputs": [entry], "parameters": {"binary_data_output": True}}).encode()
    pack_body = {"": bytes, "gzip": gzip.compress, "deflate": zlib.compress}[encoding]
    headers = {HEADER_LENGTH: str(len(text)), **({"Content-Encoding": encoding} if encoding else {})}
    response = server.client.post("/v2/models/pets/infer", content=pack_body(text + tensor), headers=headers)
    check_binary(response.content, int(response.headers[HEADER_LENGTH]), png)
    assert response.headers["content-type"] == "application/octet-stream"


def test_a_bare_image_needs_no_client_library(server: Running, png: bytes) -> None:
    response = server.client.post("/v2/models/pets/versions/1/infer", content=png, headers={HEADER_LENGTH: "0"})
    check_binary(response.content, int(response.headers[HEADER_LENGTH]), png)


def check_binary(content: bytes, length: int, image: bytes) -> None:
    output = json.loads(content[:length])["outputs"][0]
    assert output["parameters"] == {"binary_data_size": 12}
    np.testing.assert_allclose(np.frombuffer(content[length:], "<f4"), logits_of(image), rtol=1e-4, atol=1e-5)


def test_pixels_are_answered_like_the_image_they_are_of(server: Running, png: bytes) -> None:
    path, pixels = "/v2/models/flowers__tensor/infer", preprocess.preprocess(png, make_preprocess_spec())[None]
    entry = {"name": "images", "shape": list(pixels.shape), "datatype": "FP32"}
    size = {"parameters": {"binary_data_size": pixels.nbytes}}
    text = json.dumps({"inputs": [{**entry, **size}], "parameters": {"binary_data_output": True}}).encode()
    answers = [
        server.client.post(path, content=text + pixels.tobytes(), headers={HEADER_LENGTH: str(len(text))}),
        server.client.post(path, content=pixels.tobytes(), headers={HEADER_LENGTH: "0"}),
    ]
    expected = logits_of(png, 1)
    for answer in answers:
        raw = answer.content[int(answer.headers[HEADER_LENGTH]) :]
        np.testing.assert_allclose(np.frombuffer(raw, "<f4"), expected, rtol=1e-4, atol=1e-5)
    for data in (pixels.ravel().tolist(), pixels.tolist()):
        document = server.client.post(path, json={"inputs": [{**entry, "data": data}]}).json()
        assert document["model_name"] == "flowers__tensor"
        np.testing.assert_allclose(document["outputs"][0]["data"], expected, rtol=1e-4, atol=1e-5)


def test_pixels_and_encoded_images_ride_in_one_batch_and_are_counted_together(launch: Launcher, png: bytes) -> None:
    running = launch()
    pixels = preprocess.preprocess(png, make_preprocess_spec())[None]
    running.engine.gate.clear()
    ask = functools.partial(running.client.post, headers={HEADER_LENGTH: "0"})
    with ThreadPoolExecutor(3) as threads:
        held = threads.submit(ask, "/v2/models/digits/infer", content=png)
        running.engine.wait_entered()
        waiting = [
            threads.submit(ask, "/v2/models/pets/infer", content=png),
            threads.submit(ask, "/v2/models/pets__tensor/infer", content=pixels.tobytes()),
        ]
        while running.service.batcher.admitted < 3:
            pass
        running.engine.gate.set()
        assert held.result().status_code == 200
        first, second = (answer.result().content[-12:] for answer in waiting)
    np.testing.assert_allclose(np.frombuffer(first, "<f4"), np.frombuffer(second, "<f4"), rtol=1e-5)
    for name in ("pets", "pets__tensor"):
        (stats,) = running.client.get(f"/v2/models/{name}/stats").json()["model_stats"]
        assert (stats["name"], stats["inference_stats"]["success"]["count"], stats["inference_count"]) == (name, 2, 2)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_no_numbers_are_refused(server: Running, value: float) -> None:
    pixels = np.full((1, 3, 32, 32), value, dtype=np.float32).tobytes()
    response = server.client.post("/v2/models/pets__tensor/infer", content=pixels, headers={HEADER_LENGTH: "0"})
    assert response.status_code == 400
    assert "holds values that are NaN or infinite" in response.json()["error"]


def test_classification_names_labels(server: Running, png: bytes) -> None:
    outputs = [{"name": "logits", "parameters": {"classification": 2}}]
    document = server.client.post("/v2/models/pets/infer", json=json_request(png, outputs=outputs)).json()
    order = np.argsort(-logits_of(png))[:2]
    assert document["outputs"][0]["shape"] == [1, 2]
    assert [text.split(":")[1:] for text in document["outputs"][0]["data"]] == [[str(i), f"pets {i}"] for i in order]


@pytest.mark.case(
    "C6", "bombs and damaged bodies, one after another", "400, 413 or 415; the next answer is the same to the bit"
)
@pytest.mark.parametrize(
    ("content", "headers", "status", "message"),
    [
        (b"", {}, 400, "the body is empty"),
        (b"{not json", {}, 400, "failed to parse the request JSON"),
        (b"{}", {}, 400, "JSON object with an array 'inputs'"),
        (b'{"inputs":[]}', {HEADER_LENGTH: "99999"}, 400, r"range \(0, 13\), got: 99999"),
        (b'{"inputs":[]}', {HEADER_LENGTH: "-1"}, 400, "got: -1"),
        (b'{"inputs":[]}', {HEADER_LENGTH: "abc"}, 400, "got: abc"),
        (b"\x1f\x8bnot gzip", {"Content-Encoding": "gzip"}, 400, "not valid gzip data"),
        (b"{}", {"Content-Encoding": "br"}, 415, "unsupported Content-Encoding"),
        (gzip.compress(bytes(30_000_000)), {"Content-Encoding": "gzip"}, 413, "decompressed body is larger"),
        (b"no image", {HEADER_LENGTH: "0"}, 415, "image"),
    ],
)
def test_wrong_requests_harm_nobody(
    server: Running, png: bytes, content: bytes, headers: dict[str, str], status: int, message: str
) -> None:
    before = server.client.post("/v2/models/pets/infer", json=json_request(png)).content
    response = server.client.post("/v2/models/pets/infer", content=content, headers=headers)
    assert response.status_code == status
    (error,) = response.json().values()
    assert re.search(message, error)
    assert server.client.get("/v2/health/live").status_code == 200
    assert server.client.post("/v2/models/pets/infer", json=json_request(png)).content == before


@pytest.mark.case("C1", "every wrong document of the parser's tests, over the wire", "400, the next answer is the same")
def test_wrong_documents_harm_nobody(server: Running, png: bytes) -> None:
    before = server.client.post("/v2/models/pets/infer", json=json_request(png)).content
    for document, _ in WRONG_DOCUMENTS:
        assert server.client.post("/v2/models/pets/infer", json=document).status_code == 400, document
    assert server.client.get("/v2/health/live").status_code == 200
    assert server.client.post("/v2/models/pets/infer", json=json_request(png)).content == before


@pytest.mark.case("C6", "a hundred damaged compressed bodies", "400, no memory stays")
def test_damaged_compressed_bodies_leave_nothing(server: Running, png: bytes) -> None:
    packed = gzip.compress(json.dumps(json_request(png)).encode(), mtime=0)

    def send(count: int) -> None:
        for place in range(count):
            damaged = bytearray(packed[: len(packed) - place % 50])
            damaged[20 + 7 * place % (len(damaged) - 20)] ^= 0x55
            headers = {"Content-Encoding": "gzip"}
            response = server.client.post("/v2/models/pets/infer", content=bytes(damaged), headers=headers)
            assert response.status_code == 400

    send(20)
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    send(100)
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 500_000
    assert server.service.bytes.used == 0


@pytest.mark.case("C7", "`Expect: 100-continue` before 90 MB", "413 without being asked for")
def test_a_body_that_is_too_large_is_not_asked_for(server: Running) -> None:
    head = f"POST /v2/models/pets/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 90000000\r\n{HEADER_LENGTH}: 0\r\n"
    with Wire(server.port) as wire:
        answer = wire.send(head.encode(), b"Expect: 100-continue\r\n\r\n").read_all()
    assert statuses(answer) == [413]


@pytest.mark.case("D8", "images of 1 x 1, 3 x 3 and 20,000 x 1 pixels, over the wire", "what they are offline")
@pytest.mark.parametrize("size", [(1, 1), (3, 3), (1, 20_000), (20_000, 1)])
def test_tiny_and_narrow_images(server: Running, size: tuple[int, int]) -> None:
    image = encode(make_image(*size))
    response = server.client.post("/v2/models/pets/infer", json=json_request(image))
    assert response.status_code == 200
    np.testing.assert_allclose(response.json()["outputs"][0]["data"], logits_of(image), rtol=1e-4, atol=1e-5)


def test_a_batch_over_the_limit_is_refused(server: Running, png: bytes) -> None:
    response = server.client.post("/v2/models/pets/infer", json=json_request(*[png] * 65))
    assert response.status_code == 400
    assert response.json() == {"error": "inference request batch-size must be <= 64 for 'pets', got 65"}


@pytest.mark.case("A2", "`timeout` of 50 ms behind a run that is held", "504 at once, never run, counted")
def test_a_deadline_is_answered_while_the_engine_is_busy(launch: Launcher, png: bytes) -> None:
    running = launch()
    running.engine.gate.clear()
    with ThreadPoolExecutor(1) as threads:
        held = threads.submit(running.client.post, "/v2/models/pets/infer", json=json_request(png))
        running.engine.wait_entered()
        late = running.client.post("/v2/models/digits/infer", json=json_request(png, parameters={"timeout": 50_000}))
        assert late.status_code == 504
        assert late.json()["error"].startswith("Request timeout expired")
        assert not held.done()
        running.engine.gate.set()
        assert held.result().status_code == 200
    assert [call[bank.TASK].tolist() for call in running.engine.calls] == [[0]]
    stats = running.client.get("/v2/models/digits/stats").json()["model_stats"][0]
    assert (stats["execution_count"], stats["inference_stats"]["fail"]["count"]) == (0, 1)
    assert 'nv_inference_request_failure{model="digits",reason="REJECTED",version="1"} 1' in (
        running.client.get("/metrics").text
    )


def test_statistics_count_requests_rows_and_runs(launch: Launcher, png: bytes) -> None:
    running = launch(settings=Settings(max_batch=2))
    running.client.post("/v2/models/pets/infer", json=json_request(png, png, png))
    stats = running.client.get("/v2/models/pets/stats").json()["model_stats"][0]
    assert (stats["inference_count"], stats["execution_count"]) == (3, 2)
    assert stats["inference_stats"]["success"]["count"] == stats["inference_stats"]["compute_output"]["count"] == 1
    assert stats["inference_stats"]["compute_output"]["ns"] > 0
    assert [entry["batch_size"] for entry in stats["batch_stats"]] == [1, 2]


@pytest.mark.case("B1", "asked for readiness while it warms up", "503 with Retry-After, live all the same")
def test_models_are_not_ready_while_the_server_is_not(launch: Launcher) -> None:
    engine = FakeEngine()
    engine.gate.clear()
    running = launch(engine, warm=False)
    for path in ("/v2/health/ready", "/v2/models/pets/ready"):
        response = running.client.get(path)
        assert (response.status_code, response.headers["retry-after"]) == (503, "1")
        assert response.json()["error"].endswith("not ready: the engine is warming up")
    assert running.client.get("/v2/health/live").status_code == 200
    assert running.client.get("/v2/models/nope/ready").status_code == 404


@pytest.mark.case("A8", "`Expect: 100-continue` before 2 MB", "100 at once")
def test_a_large_body_that_expects_100_continue_is_told_to_go_on(server: Running) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=WAIT_S) as connection:
        head = "POST /v2/models/pets/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n"
        connection.sendall(f"{head}{HEADER_LENGTH}: 0\r\nExpect: 100-continue\r\n\r\n".encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 100 ")
        connection.sendall(bytes(2_000_000))
        assert connection.recv(1000).startswith(b"HTTP/1.1 415 ")
