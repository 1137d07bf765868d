from __future__ import annotations

import re

import httpx
import pytest

from adaptertune_deploy.serve.http import v1
from adaptertune_deploy.serve.http.app import make_app
from adaptertune_deploy.serve.http.server import serving
from adaptertune_deploy.serve.settings import Settings
from tests.serve.conftest import Launcher, Running
from tests.serve.fakes import FakeEngine, make_shared
from tests.serve.http.raw_http import refusal


def test_metrics_are_plain_text(server: Running, png: bytes) -> None:
    server.client.post("/v1/predict?tasks=digits", content=png)
    response = server.client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = re.search(r'^nv_inference_request_success{model="digits",version="1"} (\d+)$', response.text, re.MULTILINE)
    assert found is not None
    assert int(found[1]) >= 1
    assert "atd_batch_rows_bucket" in response.text


def test_every_answer_is_counted_and_every_queue_shown(
    launch: Launcher, png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = launch()
    monkeypatch.setattr(v1, "_document", lambda *arguments: 1 / 0)
    assert running.client.post("/v1/predict", content=png).status_code == 500
    assert running.client.get("/nothing").status_code == 404
    assert refusal(running.port, b"\x00\r\n\r\n")[0] == 400
    text = running.client.get("/metrics").text
    for route, status in (("unknown", 400), ("unknown", 404), ("/v1/predict", 500)):
        assert f'atd_http_responses_total{{route="{route}",status="{status}"}} 1.0' in text
    for line in ("atd_ready 1.0", 'atd_queue_rows{task="pets"} 0.0', "atd_body_bytes 0.0", "atd_decode_pixels 0.0"):
        assert f"\n{line}\n" in text
    assert re.search(r'\natd_connections{phase="answer"} [1-9]', text)
    assert f'\natd_limit{{limit="queue_limit"}} {Settings().queue_limit}.0\n' in text
    assert f'\natd_limit{{limit="max_batch"}} {running.service.batcher.rows}.0\n' in text


def test_unknown_paths_and_methods_are_json_errors(server: Running) -> None:
    assert server.client.get("/nothing").json() == {"error": "Not Found"}
    response = server.client.get("/v1/predict")
    assert (response.status_code, response.json(), response.headers["allow"]) == (
        405,
        {"error": "Method Not Allowed"},
        "POST",
    )


def test_while_draining_ready_says_no_and_answers_close_their_connection(launch: Launcher, png: bytes) -> None:
    running = launch()
    assert "connection" not in running.client.get("/v2/health/ready").headers
    running.service.draining = True
    response = running.client.get("/v2/health/ready")
    assert (response.status_code, response.json()) == (503, {"error": "not ready: the server is shutting down"})
    assert response.headers["connection"] == "close"
    assert running.client.post("/v1/predict", content=png).status_code == 200
    running.service.draining = False


def test_a_fault_of_our_own_is_a_500_without_details(
    server: Running, png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object) -> None:
        raise RuntimeError("<object at 0x7f0011223344> in /opt/secret")

    monkeypatch.setattr(v1, "_document", broken)
    response = server.client.post("/v1/predict", content=png)
    assert (response.status_code, response.json()) == (500, {"error": "internal error"})


def test_the_session_outlives_the_application() -> None:
    engine = FakeEngine()
    with serving(make_app(make_shared(engine))) as url:
        assert httpx.get(f"{url}/v2/health/live").status_code == 200
    assert not engine.closed
