"""A server that keeps its answers, over HTTP: every way of asking shares them, and says so."""

from __future__ import annotations

import gzip
from typing import Any

import numpy as np
import pytest

from adaptertune_deploy.core.images import preprocess
from adaptertune_deploy.serve.settings import Settings
from tests.builders import encode, make_image, make_preprocess_spec
from tests.serve.conftest import Launcher, Running
from tests.serve.fakes import make_adapters, reference, wait_until
from tests.serve.http.v2.test_endpoints import json_request

CACHED = Settings(cache=1, max_batch=8)
RAW = {"Inference-Header-Content-Length": "0"}
BINARY = {"outputs": [{"name": "logits", "parameters": {"binary_data": True}}]}


@pytest.fixture
def running(launch: Launcher) -> Running:
    return launch(settings=CACHED)


def logits(running: Running, body: dict[str, Any], model: str = "pets") -> list[float]:
    response = running.client.post(f"/v2/models/{model}/infer", json=body)
    assert response.status_code == 200, response.text
    found: list[float] = response.json()["outputs"][0]["data"]
    return found


def tensor_request(pixels: np.ndarray[Any, Any]) -> dict[str, Any]:
    entry = {"name": "images", "shape": list(pixels.shape), "datatype": "FP32", "data": pixels.ravel().tolist()}
    return {"inputs": [entry]}


def test_every_way_of_asking_about_an_image_shares_one_answer(running: Running, png: bytes) -> None:
    first = running.client.post("/v1/predict?tasks=pets", content=png).json()
    assert (first["cached"], len(running.engine.calls)) == (0, 1)
    again = running.client.post("/v1/predict?tasks=pets", content=png).json()
    assert again["images"] == first["images"]
    assert again["batch"] == {"rows": 0, "images": 0, "tasks": 0}
    assert again["cached"] == 1
    assert list(again["latency_ms"]) == ["read", "preprocess", "queue", "infer", "cache", "total"]
    assert (again["latency_ms"]["infer"], again["latency_ms"]["preprocess"]) == (0, 0)
    form = running.client.post("/v1/predict", files={"a": png}, data={"tasks": "pets", "top_k": "1"}).json()
    assert form["images"][0]["tasks"]["pets"] == first["images"][0]["tasks"]["pets"][:1]
    packed = running.client.post(
        "/v1/predict?tasks=pets", content=gzip.compress(png), headers={"Content-Encoding": "gzip"}
    )
    assert packed.json()["cached"] == 1
    plain = logits(running, json_request(png))
    np.testing.assert_allclose(
        plain, reference(preprocess.preprocess(png, make_preprocess_spec()), make_adapters()[0]), rtol=1e-4, atol=1e-5
    )
    classes = [{"name": "logits", "parameters": {"classification": 2}}]
    texts = logits(running, json_request(png, outputs=classes))
    assert len(texts) == 2
    assert running.client.post("/v2/models/pets/infer", content=png, headers=RAW).status_code == 200
    binary = running.client.post("/v2/models/pets/infer", json=json_request(png, **BINARY))
    assert np.frombuffer(binary.content[-12:], "<f4").tolist() == np.float32(plain).tolist()
    assert len(running.engine.calls) == 1


def test_a_request_for_every_task_gets_what_is_lacking(running: Running, png: bytes) -> None:
    running.client.post("/v1/predict?tasks=flowers", content=png)
    document = running.client.post("/v1/predict", content=png).json()
    assert (document["cached"], document["batch"]) == (1, {"rows": 2, "images": 1, "tasks": 2})
    assert list(document["images"][0]["tasks"]) == ["pets", "flowers", "digits"]
    document = running.client.post("/v1/predict", content=png).json()
    assert (document["cached"], len(running.engine.calls)) == (3, 2)


def test_pixels_in_json_and_in_binary_form_share_an_answer(running: Running) -> None:
    pixels = np.random.default_rng(0).normal(size=(2, 3, 32, 32)).astype(np.float32)
    first = logits(running, tensor_request(pixels), "pets__tensor")
    raw = {**tensor_request(pixels)["inputs"][0], "parameters": {"binary_data_size": pixels.nbytes}}
    raw.pop("data")
    head = running.client.build_request("POST", "/", json={"inputs": [raw]}).read()
    answer = running.client.post(
        "/v2/models/pets__tensor/infer",
        content=head + pixels.tobytes(),
        headers={"Inference-Header-Content-Length": str(len(head))},
    )
    assert answer.json()["outputs"][0]["data"] == first
    assert logits(running, tensor_request(pixels[1:]), "pets__tensor") == first[3:]
    assert len(running.engine.calls) == 1


def test_statistics_metrics_and_the_configuration_tell_of_it(running: Running, png: bytes) -> None:
    for _ in range(3):
        logits(running, json_request(png))
    (entry,) = running.client.get("/v2/models/pets/stats").json()["model_stats"]
    counts = {name: tally["count"] for name, tally in entry["inference_stats"].items()}
    assert counts == {
        "success": 3,
        "fail": 0,
        "queue": 3,
        "compute_input": 1,
        "compute_infer": 1,
        "compute_output": 1,
        "cache_hit": 2,
        "cache_miss": 1,
    }
    assert (entry["inference_count"], entry["execution_count"]) == (1, 1)
    text = running.client.get("/metrics").text
    for line in (
        'nv_cache_num_hits_per_model{model="pets",version="1"} 2',
        'nv_cache_num_misses_per_model{model="pets",version="1"} 1',
        'nv_inference_request_success{model="pets",version="1"} 3',
        'nv_inference_count{model="pets",version="1"} 1',
        "nv_cache_num_entries 1.0",
        "nv_cache_num_evictions 0.0",
        'atd_limit{limit="cache"} 1.0',
    ):
        assert f"{line}\n" in text
    used = float(text.split("\nnv_cache_util ")[1].split("\n")[0])
    assert 0 < used < 0.001
    assert running.client.get("/v2/models/pets/config").json()["response_cache"] == {"enable": True}


def test_a_server_without_it_says_nothing_of_it(server: Running, png: bytes) -> None:
    document = server.client.post("/v1/predict?tasks=pets", content=png).json()
    assert "cached" not in document
    assert "cache" not in document["latency_ms"]
    assert "nv_cache" not in server.client.get("/metrics").text
    assert "response_cache" not in server.client.get("/v2/models/pets/config").json()


def test_refusals_are_those_of_a_server_without_it(server: Running, running: Running, png: bytes) -> None:
    requests: list[tuple[str, dict[str, Any]]] = [
        ("/v1/predict?tasks=pets", {"content": b"no image"}),
        ("/v1/predict?tasks=pets", {"content": png[: len(png) // 2]}),
        ("/v1/predict?tasks=nope", {"content": png}),
        ("/v1/predict", {"files": [("a", png), ("b", b"<svg/>")]}),
        ("/v2/models/pets/infer", {"json": json_request(*[png] * 65)}),
        ("/v2/models/pets/infer", {"json": json_request(png, parameters={"timeout": -1})}),
        ("/v2/models/pets__tensor/infer", {"json": tensor_request(np.zeros((1, 3, 31, 32), dtype=np.float32))}),
    ]
    for _ in range(2):
        running.client.post("/v1/predict", content=png)
        for path, body in requests:
            expected, found = (client.post(path, **body) for client in (server.client, running.client))
            assert (found.status_code, found.json()) == (expected.status_code, expected.json())
            assert found.status_code >= 400


def test_a_timeout_that_has_passed_is_not_met_by_a_known_answer(running: Running, png: bytes) -> None:
    logits(running, json_request(png))
    late = running.client.post("/v2/models/pets/infer", json=json_request(png, parameters={"timeout": 1}))
    assert late.status_code == 504


def test_a_server_whose_engine_fails_is_not_ready_though_it_knows_answers(running: Running, png: bytes) -> None:
    assert running.client.post("/v1/predict?tasks=pets", content=png).json()["cached"] == 0
    running.engine.error = RuntimeError("broken")
    for seed in range(1, 4):
        assert running.client.post("/v1/predict", content=encode(make_image(seed=seed))).status_code == 500
    assert running.client.get("/v2/health/ready").status_code == 503
    assert running.client.post("/v1/predict?tasks=pets", content=png).json()["cached"] == 1
    wait_until(lambda: len(running.engine.calls) > 4)  # the probe, which the cache does not answer
    assert running.client.get("/v2/health/ready").status_code == 503
    running.engine.error = None
    wait_until(lambda: running.client.get("/v2/health/ready").status_code == 200)
