"""A replica's application, driven by the ASGI protocol itself; tests/flow/test_ray.py has a real Ray drive it."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from adaptertune_deploy.core.bundle.folder import read_manifest
from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.serve.batching import warming
from adaptertune_deploy.serve.logs.setup import LogOptions
from adaptertune_deploy.serve.opening import Opening
from adaptertune_deploy.serve.ray.replica import Plan, ReplicaApp
from adaptertune_deploy.serve.settings import Settings
from tests.serve.tasks.bundles import FAKE, make_bundle

SCOPE = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "query_string": b"", "headers": []}


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ReplicaApp:
    folder = make_bundle(tmp_path / "bundle", monkeypatch)
    opening = Opening(folder, None, "shared", FAKE, True, False, tmp_path / "adapters")
    return ReplicaApp(Plan(opening, Settings(), LogOptions()), "replica-7")


def live(app: ReplicaApp, body: Callable[[], Awaitable[None]]) -> list[str]:
    """Run the lifespan of an application around a scenario, as a server does; return what it said of its life."""
    said: list[str] = []

    async def run() -> None:
        told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        started = asyncio.Event()

        async def send(message: Any) -> None:
            said.append(message["type"])
            started.set()

        lifespan = asyncio.create_task(app({"type": "lifespan", "asgi": {"version": "3.0"}}, told.get, send))
        await told.put({"type": "lifespan.startup"})
        await started.wait()
        await body()
        await told.put({"type": "lifespan.shutdown"})
        await lifespan

    asyncio.run(asyncio.wait_for(run(), 60))
    return said


async def get(app: ReplicaApp, path: str) -> tuple[int, dict[bytes, bytes], Any]:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await app({**SCOPE, "method": "GET", "path": path, "raw_path": path.encode()}, receive, send)
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], dict(sent[0]["headers"]), json.loads(body) if body else None


def test_it_has_started_when_it_is_warm_and_every_answer_names_the_replica(app: ReplicaApp, tmp_path: Path) -> None:
    async def ask() -> None:
        app.check()
        status, headers, _ = await get(app, "/v2/health/ready")
        assert (status, headers[b"x-replica-id"]) == (200, b"replica-7")
        status, headers, facts = await get(app, "/")
        assert (status, headers[b"x-replica-id"]) == (200, b"replica-7")
        manifest = read_manifest(tmp_path / "bundle")
        assert {name: int(task["version"]) for name, task in facts["tasks"].items()} == {
            record.task.name: int(record.sha256[:8], 16) for record in manifest.tasks
        }

    handlers = len(logging.getLogger().handlers)
    assert live(app, ask) == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert len(logging.getLogger().handlers) == handlers - 1  # its own log is gone, and with it all that it held


def test_an_engine_that_fails_its_first_run_is_no_started_replica(
    app: ReplicaApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise EngineError("out of memory")

    monkeypatch.setattr(warming, "warm_up", fail)

    async def look() -> None:
        with pytest.raises(RuntimeError, match="out of memory"):
            app.check()

    assert live(app, look)[0] == "lifespan.startup.failed"


def test_an_engine_that_fails_again_and_again_asks_for_another_replica(app: ReplicaApp) -> None:
    async def look() -> None:
        health = app.service.batcher.health
        while health.problem is None:
            app.check()
            health.ended(fine=False)
        with pytest.raises(RuntimeError, match="in a row"):
            app.check()

    live(app, look)
