"""Real servers on loopback ports, with a numpy engine inside."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import httpx
import pytest

from adaptertune_deploy.serve.http.app import make_app
from adaptertune_deploy.serve.http.server import serving
from adaptertune_deploy.serve.service import Service
from adaptertune_deploy.serve.settings import Settings
from tests.builders import encode, make_image
from tests.serve.fakes import WAIT_S, FakeEngine, check_error_text, make_shared


@dataclass(frozen=True)
class Running:
    """A server that listens: its client, its engine, its insides."""

    url: str
    client: httpx.Client
    engine: FakeEngine
    service: Service

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])


Launcher = Callable[..., Running]


@pytest.fixture
def launch() -> Iterator[Launcher]:
    """Start servers, each with an engine and settings of its own; `warm=False` returns before the warm-up ended."""
    with ExitStack() as stack:

        def start(engine: FakeEngine | None = None, settings: Settings | None = None, warm: bool = True) -> Running:
            engine = engine or FakeEngine()
            app = make_app(make_shared(engine), settings)
            stack.callback(engine.gate.set)
            url = stack.enter_context(serving(app))
            stack.callback(engine.gate.set)
            client = stack.enter_context(make_client(url))
            running = Running(url, client, engine, app.state.service)
            if warm:
                wait_ready(running)
                engine.forget()
            return running

        yield start


@pytest.fixture(scope="session")
def server() -> Iterator[Running]:
    """One warm server with default settings, for tests that only ask and never hold or spoil its engine."""
    engine = FakeEngine()
    app = make_app(make_shared(engine), Settings())
    with serving(app) as url, make_client(url) as client:
        running = Running(url, client, engine, app.state.service)
        wait_ready(running)
        yield running


@pytest.fixture(scope="session")
def png() -> bytes:
    return encode(make_image())


def make_client(url: str) -> httpx.Client:
    """Return a client that checks the form of every error it gets."""
    return httpx.Client(base_url=url, timeout=WAIT_S, event_hooks={"response": [check_error]})


def check_error(response: httpx.Response) -> None:
    """Assert that an answer other than 200 is {"error": text} and tells nothing of the inside."""
    if response.status_code != 200:
        (text,) = json.loads(response.read()).values()
        assert list(response.json()) == ["error"]
        check_error_text(text)


def wait_ready(running: Running) -> None:
    """Return when the server is warm; asking again is the way clients learn it too."""
    for _ in range(10_000):
        if running.client.get("/v2/health/ready").status_code == 200:
            return
    raise AssertionError("the server never became ready")
