"""GET /v2/health/ready of a whole server, from its start through failure and recovery."""

from __future__ import annotations

import logging
import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from adaptertune_deploy.core.answers.known_image import known_image, stored_answer
from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.core.images.preprocess import normalised
from adaptertune_deploy.serve.batching import batcher, warming
from adaptertune_deploy.serve.batching.engine_health import FAILURES
from adaptertune_deploy.serve.http.app import make_app
from adaptertune_deploy.serve.http.server import serving
from adaptertune_deploy.serve.logs import readiness
from adaptertune_deploy.serve.sessions.shared_session import SharedSession
from adaptertune_deploy.serve.settings import Settings
from tests.builders import make_preprocess_spec
from tests.serve.conftest import Launcher, Running, make_client, wait_ready
from tests.serve.fakes import FakeEngine, make_adapters, make_shared, reference, shared_network

READY = "/v2/health/ready"


def proven(engine: FakeEngine | None = None, change: float = 0.0, known: bool = True) -> SharedSession:
    """Return a session of one task whose answer is known, or known falsely, or not at all."""
    spec = make_preprocess_spec()
    session = make_shared(engine, [])
    (adapter, *_) = make_adapters()
    logits = reference(normalised(known_image(spec.size), spec), adapter) + change
    session.put(adapter, answer=stored_answer(adapter.task.name, logits.astype(np.float32)) if known else None)
    return session


def fail(running: Running, png: bytes) -> None:
    """Let the engine fail until the server is not ready."""
    running.engine.error = RuntimeError("no such device")
    for _ in range(FAILURES):
        assert running.client.post("/v1/predict?tasks=pets", content=png).status_code == 500


@pytest.mark.case("B13", "an engine that fails run after run, and then recovers", "not ready meanwhile, then ready")
def test_it_follows_the_engine_through_failure_and_recovery(
    launch: Launcher, png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batcher, "PROBE_S", 0.01)
    running = launch()
    fail(running, png)
    answer = running.client.get(READY)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert re.fullmatch(r"not ready: the engine failed \d+ times in a row", answer.json()["error"])
    assert running.client.get("/v2/models/pets/ready").status_code == 503
    assert "\natd_ready 0.0\n" in running.client.get("/metrics").text
    assert running.client.get("/v2/health/live").status_code == 200
    running.engine.error = None
    wait_ready(running)
    assert running.client.post("/v1/predict?tasks=pets", content=png).status_code == 200
    assert "\natd_ready 1.0\n" in running.client.get("/metrics").text


@pytest.mark.case("B13", "an engine run that hangs, and ends after all", "not ready meanwhile, then ready")
def test_it_ends_with_a_run_that_hangs_and_comes_back_with_its_end(launch: Launcher, png: bytes) -> None:
    running = launch(settings=Settings(run_timeout=0.05))
    running.engine.gate.clear()
    with ThreadPoolExecutor(1) as threads:
        held = threads.submit(running.client.post, "/v1/predict?tasks=pets", content=png)
        running.engine.wait_entered()
        answer = running.client.get(READY)
        while answer.status_code == 200:
            answer = running.client.get(READY)
        assert "has not finished a run for more than 0.05 seconds" in answer.json()["error"]
        assert not held.done()
        running.engine.gate.set()
        assert held.result().status_code == 200
    wait_ready(running)


@pytest.mark.case("B1", "a task that answers otherwise than its bundle says", "never ready, one line, exit code 1")
def test_a_server_whose_task_answers_otherwise_ends_with_one_line(caplog: pytest.LogCaptureFixture) -> None:
    line = "the engine failed its first run: task 'pets' answers otherwise than its bundle says"
    with pytest.raises(EngineError, match=line), serving(make_app(proven(FakeEngine(), 0.5))):
        pass
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.getMessage().startswith(line)
    assert record.exc_info is None


@pytest.mark.case("B13", "an engine that comes back and computes something else", "not ready until it is right")
def test_an_engine_that_recovers_must_answer_as_the_bundle_says(png: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batcher, "PROBE_S", 0.001)
    engine = FakeEngine()
    app = make_app(proven(engine))
    with serving(app) as url, make_client(url) as client:
        running = Running(url, client, engine, app.state.service)
        wait_ready(running)
        fail(running, png)
        engine.compute = lambda feeds: shared_network(feeds) + 1
        engine.error = None
        runs = len(engine.calls)
        while len(engine.calls) < runs + 9:  # three times warm-up of two runs and the question
            assert client.get(READY).status_code == 503
        engine.compute = shared_network
        wait_ready(running)


@pytest.mark.parametrize("known", [True, False])
def test_the_log_says_which_tasks_were_proven_and_when_readiness_changes(
    png: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, known: bool
) -> None:
    monkeypatch.setattr(batcher, "PROBE_S", 0.01)
    caplog.set_level(logging.INFO, "adaptertune_deploy.serve")
    engine = FakeEngine()
    app = make_app(proven(engine, known=known))

    def wait_said(start: str) -> None:
        while not any(record.getMessage().startswith(start) for record in caplog.records):
            client.get("/v2/health/live")

    with serving(app) as url, make_client(url) as client:
        running = Running(url, client, engine, app.state.service)
        wait_said("ready")
        fail(running, png)
        wait_said("not ready: the engine failed")
        engine.error = None
        wait_ready(running)
    names = [module.__name__ for module in (readiness, batcher, warming)]
    said = [record.getMessage() for record in caplog.records if record.name in names]
    proof = (
        "warm, and answering as the bundle says: pets" if known else "warm only, since the bundle holds no answer of"
    )
    assert sum(line.startswith(proof) for line in said) == 1
    assert sum(line.startswith("warm") for line in said) == 1
    assert said[-1] == "not ready: the server is shutting down"
