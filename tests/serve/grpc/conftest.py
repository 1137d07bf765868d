"""Real servers on loopback ports that speak HTTP and gRPC, with a numpy engine inside."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import grpc
import httpx
import pytest

from adaptertune_deploy.serve.grpc.messages import message
from adaptertune_deploy.serve.grpc.methods import SERVICE
from adaptertune_deploy.serve.grpc.server import GrpcServer, admin_server
from adaptertune_deploy.serve.http.app import make_app
from adaptertune_deploy.serve.http.server import serving
from adaptertune_deploy.serve.service import Service
from adaptertune_deploy.serve.settings import Settings
from tests.builders import encode, make_image
from tests.serve.conftest import Running, make_client, wait_ready
from tests.serve.fakes import WAIT_S, FakeEngine, make_shared


@dataclass(frozen=True)
class Called:
    """A server that listens: HTTP's client, a channel of gRPC's, its engine, its insides."""

    http: httpx.Client
    channel: grpc.Channel
    target: str
    engine: FakeEngine
    service: Service
    companion: GrpcServer

    @property
    def open_calls(self) -> int:
        calls = self.companion._calls
        return 0 if calls is None else calls._open

    def call(self, method: str, data: Any = None, timeout: float = WAIT_S, **fields: Any) -> Any:
        """Return the answer to a method's request, which is given as bytes or by its fields."""
        return self.future(method, data, timeout, **fields).result()

    def future(self, method: str, data: Any = None, timeout: float = WAIT_S, **fields: Any) -> Any:
        request = message(f"{method}Request")(**fields).SerializeToString() if data is None else data
        stub = self.channel.unary_unary(f"/{SERVICE}/{method}", None, message(f"{method}Response").FromString)
        return stub.future(request, timeout=timeout)

    def failure(self, method: str, data: Any = None, **fields: Any) -> tuple[grpc.StatusCode, str]:
        """Return the status and the text of a call that must fail."""
        with pytest.raises(grpc.RpcError) as caught:
            self.call(method, data, **fields)
        return caught.value.code(), caught.value.details()


Launcher = Callable[..., Called]


@pytest.fixture
def launch() -> Iterator[Launcher]:
    """Start servers, each with an engine and settings of its own."""
    with ExitStack() as stack:

        def start(settings: Settings | None = None) -> Called:
            engine = FakeEngine()
            called = stack.enter_context(Serving(engine, settings))
            stack.callback(engine.gate.set)
            return called

        yield start


@pytest.fixture(scope="session")
def server() -> Iterator[Called]:
    """One warm server with default settings, for tests that only ask and never hold or spoil its engine."""
    with ExitStack() as stack:
        yield stack.enter_context(Serving(FakeEngine(), None))


@pytest.fixture
def admin() -> Iterator[Called]:
    """The admin listener of a warm server, whose token is "a token"."""
    with ExitStack() as stack:
        yield stack.enter_context(Serving(FakeEngine(), None, "a token"))


class Serving:
    """A warm server for the length of a `with` block."""

    def __init__(self, engine: FakeEngine, settings: Settings | None, token: str | None = None) -> None:
        """Prepare a server; with a token its admin listener is called."""
        self._engine, self._token = engine, token
        self._app = make_app(make_shared(engine), settings)
        self._stack = ExitStack()

    def __enter__(self) -> Called:
        service = self._app.state.service
        companion = GrpcServer(service, "127.0.0.1", 0)
        if self._token is not None:
            companion = admin_server(service, "127.0.0.1", 0, self._token)
        url = self._stack.enter_context(serving(self._app, companions=[companion]))
        client = self._stack.enter_context(make_client(url))
        wait_ready(Running(url, client, self._engine, service))
        self._engine.forget()
        target = f"127.0.0.1:{companion.port}"
        channel = self._stack.enter_context(grpc.insecure_channel(target, [("grpc.max_send_message_length", -1)]))
        return Called(client, channel, target, self._engine, service, companion)

    def __exit__(self, *what: object) -> None:
        self._stack.close()


@pytest.fixture(scope="session")
def png() -> bytes:
    return encode(make_image())


def until(condition: Callable[[], bool]) -> None:
    """Return when a condition holds; the server's threads need this one to give way."""
    pause = threading.Event()
    for _ in range(1000 * WAIT_S):
        if condition():
            return
        pause.wait(0.001)
    raise AssertionError("the condition never held")


def image_request(*images: bytes, model: str = "pets", **more: Any) -> bytes:
    """Return a ModelInferRequest about encoded images."""
    request = message("ModelInferRequest")(model_name=model, **more)
    entry = request.inputs.add(name="image", datatype="BYTES", shape=[len(images), 1])
    entry.contents.bytes_contents.extend(images)
    data: bytes = request.SerializeToString()
    return data
