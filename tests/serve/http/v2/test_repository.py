"""The repository extension, and tasks that are swapped under load through it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from adaptertune_deploy.core.adapter.folder import Adapter
from adaptertune_deploy.core.images import preprocess
from adaptertune_deploy.serve.settings import Settings
from tests.builders import encode, make_image, make_preprocess_spec
from tests.serve import fakes
from tests.serve.fakes import make_adapters, reference
from tests.serve.http.swapping import TOKEN, Swapping, swapping
from tests.serve.tasks.bundles import another, drop, make_bundle, put, spoiled

IMAGE = encode(make_image())
PIXELS = preprocess.preprocess(IMAGE, make_preprocess_spec())
RAW = {"Inference-Header-Content-Length": "0"}
CLIENTS = 2


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Swapping]:
    with swapping(make_bundle(tmp_path, monkeypatch)) as server:
        yield server


def infer(client: httpx.Client, task: str = "pets") -> dict[str, Any]:
    """Ask for plain logits; whatever is not an answer fails the test."""
    entry = {"name": "image", "shape": [1, 1], "datatype": "BYTES", "parameters": {"binary_data_size": len(IMAGE) + 4}}
    head = httpx.Request("POST", "http://x", json={"inputs": [entry]}).read()
    body = head + len(IMAGE).to_bytes(4, "little") + IMAGE
    headers = {"Inference-Header-Content-Length": str(len(head))}
    answer = client.post(f"/v2/models/{task}/infer", content=body, headers=headers)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


def check(document: dict[str, Any], adapter: Adapter, version: int) -> None:
    assert document["model_version"] == str(version)
    np.testing.assert_allclose(document["outputs"][0]["data"], reference(PIXELS, adapter), rtol=1e-4, atol=1e-5)


def test_a_task_is_replaced_unloaded_and_loaded_again(running: Swapping) -> None:
    check(infer(running.client), make_adapters()[0], 1)
    put(running.folder, another("pets"))
    answer = running.change("pets")
    assert (answer.status_code, answer.content) == (200, b"")
    check(infer(running.client), another("pets"), 2)
    assert running.client.get("/v2/models/pets").json()["versions"] == ["2"]
    assert running.client.get("/v2/models/pets/versions/1").status_code == 404
    (statistics,) = running.client.get("/v2/models/pets/stats").json()["model_stats"]
    assert (statistics["version"], statistics["inference_count"]) == ("2", 1)
    assert 'nv_inference_count{model="pets",version="2"} 1' in running.client.get("/metrics").text
    assert running.change("pets", "unload").status_code == 200
    assert running.index()[-1] == ("pets", "2", "UNAVAILABLE", "unloaded")
    gone = running.client.post("/v2/models/pets/infer", content=IMAGE, headers=RAW)
    assert (gone.status_code, gone.json()["error"]) == (404, "Request for unknown model: 'pets' is not found")
    assert 'model="pets"' not in running.client.get("/metrics").text
    assert running.change("pets").status_code == 200
    check(infer(running.client), another("pets"), 2)
    document = running.client.post("/v1/predict?tasks=pets,digits", content=IMAGE).json()
    assert document["versions"] == {"pets": "2", "digits": "1"}


def test_a_load_that_fails_says_why_and_changes_nothing(running: Swapping) -> None:
    put(running.folder, spoiled("pets"))
    answer = running.change("pets")
    assert answer.status_code == 500
    assert answer.json()["error"] == (
        "failed to load 'pets': task 'pets' gave logits that are NaN or infinite; the answer is withheld"
    )
    assert [entry[:3] for entry in running.index() if entry[0] == "pets"] == [
        ("pets", "1", "READY"), ("pets", "2", "UNAVAILABLE")
    ]  # fmt: skip
    check(infer(running.client), make_adapters()[0], 1)
    drop(running.folder, "digits")
    answer = running.change("digits")
    assert answer.status_code == 404
    assert answer.json()["error"] == "failed to load 'digits', the bundle holds no such task"


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        (b"{}", 200, ""),
        (b'{"parameters":{"unload_dependents":true}}', 200, ""),
        (b'{"parameters":{"config":"{}"}}', 400, "unknown parameter 'config'"),
        (b'{"ready":', 400, "failed to parse the request JSON"),
        (b"[]", 400, "the request must be a JSON object with 'ready' or 'parameters'"),
        (b'{"parameters":3}', 400, "the request must be a JSON object"),
    ],
)
def test_the_body_is_looked_at(running: Swapping, body: bytes, status: int, text: str) -> None:
    answer = running.admin.post("/v2/repository/models/never/unload", content=body)
    assert answer.status_code == status
    assert text in answer.text
    assert running.admin.post("/v2/repository/index", content=b'{"ready":3}').status_code == 400


def test_nvidias_client_loads_and_unloads(running: Swapping) -> None:
    triton = pytest.importorskip("tritonclient.http")
    utils = pytest.importorskip("tritonclient.utils")
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with triton.InferenceServerClient(running.admin.base_url.netloc.decode()) as client:
        client.unload_model("pets", headers=headers)
        states = {entry["name"]: entry["state"] for entry in client.get_model_repository_index(headers=headers)}
        assert states == {"digits": "READY", "flowers": "READY", "pets": "UNAVAILABLE"}
        client.load_model("pets", headers=headers)
        check(infer(running.client), make_adapters()[0], 1)
        with pytest.raises(utils.InferenceServerException, match="failed to load 'nope'"):
            client.load_model("nope", headers=headers)
        with pytest.raises(utils.InferenceServerException, match="send the server's token"):
            client.get_model_repository_index()


def swap_under_load(running: Swapping, swaps: int, change: Callable[[int], Adapter]) -> int:
    """Swap a task again and again while clients ask; return the answers, each of which was checked to be whole."""
    known = {1: reference(PIXELS, make_adapters()[0])}
    done, errors = threading.Event(), []
    answers: list[tuple[int, list[float]]] = []

    def ask() -> None:
        with httpx.Client(base_url=running.client.base_url, timeout=fakes.WAIT_S) as client:
            while not done.is_set():
                try:
                    document = infer(client)
                except Exception as error:  # noqa: BLE001  any at all fails the test
                    errors.append(error)
                    return
                answers.append((int(document["model_version"]), document["outputs"][0]["data"]))

    with ThreadPoolExecutor(CLIENTS) as threads:
        clients = [threads.submit(ask) for _ in range(CLIENTS)]
        try:
            for swap in range(swaps):
                adapter = change(swap)
                known[swap + 2] = reference(PIXELS, adapter)
                put(running.folder, adapter)
                assert running.change("pets").status_code == 200
                check(infer(running.client), adapter, swap + 2)
        finally:
            done.set()
        for client in clients:
            client.result()
    assert errors == []
    for version, logits in answers:
        np.testing.assert_allclose(logits, known[version], rtol=1e-4, atol=1e-5)
    return len(answers)


def another_each_time(swap: int) -> Adapter:
    return another("pets", 100 + swap)


@pytest.mark.case(
    "B5",
    "a task is replaced 200 times while clients ask for it",
    "no failed request; each answer names its version and is wholly that one",
)
def test_swaps_under_load_fail_no_request_and_mix_no_answer(running: Swapping) -> None:
    assert swap_under_load(running, 200, another_each_time) >= 200
    assert len(running.service.session.tasks) == 3


def test_swaps_under_load_while_several_instances_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with swapping(make_bundle(tmp_path, monkeypatch), settings=Settings(instances=3)) as running:
        assert swap_under_load(running, 50, another_each_time) >= 50
        assert len(running.service.session.tasks) == 3


@pytest.mark.case(
    "B5",
    "a task is replaced 100 times while clients ask the same again and again, and answers are kept",
    "each answer is wholly of the version that it names, and its own",
)
def test_swaps_under_load_while_answers_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with swapping(make_bundle(tmp_path, monkeypatch), settings=Settings(cache=1)) as running:
        assert swap_under_load(running, 100, another_each_time) >= 100
        check(infer(running.client), another_each_time(99), 101)
        (statistics,) = running.client.get("/v2/models/pets/stats").json()["model_stats"]
        assert (statistics["version"], statistics["inference_stats"]["cache_hit"]["count"] >= 1) == ("101", True)
        assert running.service.cache is not None
        assert len(running.service.cache.store) == 1


@pytest.mark.slow
def test_a_thousand_swaps_under_load(running: Swapping) -> None:
    assert swap_under_load(running, 1000, another_each_time) >= 1000
    assert len(running.service.session.tasks) == 3
