from __future__ import annotations

import asyncio
import json
import logging
import queue
import re

import httpx
import pytest

from adaptertune_deploy.serve.http import v1
from adaptertune_deploy.serve.http.exchange import UNKNOWN
from adaptertune_deploy.serve.logs.formats import JsonFormatter
from adaptertune_deploy.serve.logs.setup import ACCESS
from adaptertune_deploy.serve.settings import Settings
from tests.serve.conftest import Launcher, Running
from tests.serve.fakes import WAIT_S
from tests.serve.http.raw_http import Wire

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
METRICS = re.compile(r'atd_http_responses_total\{route="([^"]*)",status="(\d+)"\} (\d+)\.0')


def counted(running: Running) -> dict[tuple[str, int], int]:
    """Return (route, status) -> answers."""
    text = running.client.get("/metrics").text
    return {(route, int(status)): int(count) for route, status, count in METRICS.findall(text)}


def fail(*arguments: object) -> None:
    raise RuntimeError("no")


@pytest.mark.parametrize("path", ["/v2/health/live", "/nothing", "/v2/models/none", "/v1/predict"])
def test_every_answer_names_its_request_and_trace(server: Running, path: str) -> None:
    given = {"X-Request-ID": "mine-1", "traceparent": TRACEPARENT}
    named = server.client.get(path, headers=given)
    assert (named.headers["x-request-id"], named.headers["traceparent"]) == ("mine-1", TRACEPARENT)
    unnamed = [server.client.get(path) for _ in range(2)]
    assert len({answer.headers["x-request-id"] for answer in unnamed}) == 2
    assert "traceparent" not in unnamed[0].headers


class Lines(logging.Handler):
    """Keeps lines of the log as JSON."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonFormatter())
        self.found: queue.SimpleQueue[str] = queue.SimpleQueue()

    def emit(self, record: logging.LogRecord) -> None:
        self.found.put(self.format(record))


def test_so_does_the_answer_to_a_fault_of_our_own_and_its_traceback(
    server: Running, png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = Lines()
    monkeypatch.setattr(logging.getLogger(), "handlers", [lines])
    monkeypatch.setattr(v1, "_document", fail)
    given = {"X-Request-ID": "mine-2", "traceparent": TRACEPARENT}
    answer = server.client.post("/v1/predict", content=png, headers=given)
    assert (answer.status_code, answer.headers["x-request-id"]) == (500, "mine-2")
    line = json.loads(lines.found.get(timeout=WAIT_S))  # written after the answer
    assert (line["request_id"], line["trace_id"], line["level"]) == ("mine-2", TRACEPARENT[3:35], "error")
    assert line["exception"].endswith("RuntimeError: no")


def test_answers_are_counted_by_route_never_by_what_a_client_wrote(launch: Launcher, png: bytes) -> None:
    running = launch()
    before = counted(running)
    for path in ("/v2/models/pets", "/v2/models/flowers", "/v2/models/pets/versions/1", "/v2/models/x", "/a", "/b"):
        running.client.get(path)
    running.client.get("/v1/predict")
    running.client.post("/v1/predict", content=png)
    after = counted(running)
    new = {key: count - before.get(key, 0) for key, count in after.items() if count > before.get(key, 0)}
    assert new == {
        ("/v2/models/{model}", 200): 2,
        ("/v2/models/{model}", 404): 1,
        ("/v2/models/{model}/versions/{version}", 200): 1,
        (UNKNOWN, 404): 2,
        ("/v1/predict", 405): 1,
        ("/v1/predict", 200): 1,
        ("/metrics", 200): 1,
    }


def test_a_request_that_the_connection_answers_is_counted_once_under_its_route(launch: Launcher) -> None:
    running = launch(settings=Settings(body_grace=0.05, min_body_rate=1_000_000))
    head = b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"
    with Wire(running.port) as wire:
        assert wire.send(head).read_answer()[0] == 408
    found = counted(running)
    while ("/v1/predict", 408) not in found:  # the application notices it a moment later
        found = counted(running)
    assert found["/v1/predict", 408] == 1
    assert not [key for key in found if key[1] in (408, 499) and key != ("/v1/predict", 408)]


def test_the_access_log_says_who_asked_what_and_what_came_of_it(
    server: Running, png: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, ACCESS)
    elsewhere = {"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "https"}  # anybody may say so
    answer = server.client.post("/v1/predict?tasks=pets", content=png, headers=elsewhere)
    server.client.get("/%0a%1b[31m")
    server.client.get("/v2/health/live")
    server.client.get("/v2/health/ready")
    predicted, wrong = [record for record in caplog.records if record.name == ACCESS]
    facts = predicted.__dict__["facts"]
    assert 0 < facts.pop("seconds") < 60
    assert facts == {
        "client": "127.0.0.1",
        "method": "POST",
        "path": "/v1/predict",
        "route": "/v1/predict",
        "status": 200,
        "bytes": len(answer.content),
    }
    assert predicted.getMessage().startswith(f"127.0.0.1 POST /v1/predict 200 {len(answer.content)} bytes ")
    assert (wrong.__dict__["facts"]["path"], wrong.__dict__["facts"]["status"]) == ("/%0a%1b[31m", 404)


def test_nobody_is_logged_where_that_is_not_asked_for(server: Running, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "adaptertune_deploy.serve")
    caplog.set_level(logging.CRITICAL, ACCESS)
    server.client.get("/v2/health/live")
    assert not [record for record in caplog.records if record.name == ACCESS]


def test_a_batch_that_fails_names_its_requests(launch: Launcher, png: bytes, caplog: pytest.LogCaptureFixture) -> None:
    running = launch()
    running.engine.error = RuntimeError("no such device")
    answers = [
        running.client.post("/v1/predict", content=png, headers={"X-Request-ID": f"mine-{number}"})
        for number in range(2)
    ]
    assert [answer.status_code for answer in answers] == [500, 500]
    failed = [record.__dict__["facts"]["request_ids"] for record in caplog.records if "facts" in record.__dict__]
    assert failed == [["mine-0"], ["mine-1"]]
    assert "a batch of requests failed: mine-0" in caplog.text


def test_the_ids_of_two_clients_never_mix(server: Running, png: bytes) -> None:
    async def ask() -> list[tuple[str, str]]:
        async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:
            names = [f"client-{number}" for number in range(16)]
            answers = await asyncio.gather(
                *(client.post("/v1/predict", content=png, headers={"X-Request-ID": name}) for name in names)
            )
            return [(name, answer.headers["x-request-id"]) for name, answer in zip(names, answers, strict=True)]

    assert all(asked == answered for asked, answered in asyncio.run(ask()))
