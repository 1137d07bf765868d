from __future__ import annotations

import asyncio
import dataclasses
import resource
import socket
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import SimpleQueue
from threading import Event

import grpc
import pytest

from adaptertune_deploy.core.errors import EngineError, UsageError
from adaptertune_deploy.serve.grpc import places
from adaptertune_deploy.serve.grpc.methods import SERVICE
from adaptertune_deploy.serve.grpc.server import GrpcServer
from adaptertune_deploy.serve.http.app import make_app
from adaptertune_deploy.serve.http.server import Server
from adaptertune_deploy.serve.listening.address import bind
from adaptertune_deploy.serve.service import Service
from adaptertune_deploy.serve.settings import Settings
from tests.serve.conftest import make_client
from tests.serve.fakes import WAIT_S, FakeEngine, make_shared
from tests.serve.grpc.conftest import Called, image_request, until


@contextmanager
def held(settings: Settings) -> Iterator[tuple[Called, Server, Future[None]]]:
    """Yield a warm server whose engine is held, what stops it, and how it ends."""
    engine, listening = FakeEngine(), Event()
    app = make_app(make_shared(engine), settings)
    companion = GrpcServer(app.state.service, "127.0.0.1", 0)
    server = Server(app, listening.set, [companion])
    with ExitStack() as stack:
        listener = stack.enter_context(bind("127.0.0.1", 0))
        running = stack.enter_context(ThreadPoolExecutor(1)).submit(server.serve_on, listener)
        stack.callback(server.stop)
        stack.callback(engine.gate.set)
        listening.wait()
        until(lambda: companion.port != 0 and app.state.service.not_ready is None)
        engine.forget()
        engine.gate.clear()
        target = f"127.0.0.1:{companion.port}"
        channel = stack.enter_context(grpc.insecure_channel(target))
        client = stack.enter_context(make_client(f"http://127.0.0.1:{listener.getsockname()[1]}"))
        yield Called(client, channel, target, engine, app.state.service, companion), server, running


def refused(called: Called) -> bool:
    """Return whether the server takes no call any more.

    Each look has a connection of its own: one that the kernel took just before the listener was closed gets no word of
    the server, and a channel waits 20 seconds for it.
    """
    with grpc.insecure_channel(called.target, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        try:
            dataclasses.replace(called, channel=channel).call("ServerLive", timeout=2)
        except grpc.RpcError as error:
            return bool(error.code() is grpc.StatusCode.UNAVAILABLE)
    return False


def test_a_port_that_is_taken_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = GrpcServer(Service(make_shared(), Settings()), "127.0.0.1", port)
        with pytest.raises(UsageError, match=rf"can't listen on 127.0.0.1:{port} \(.*\); choose another"):
            asyncio.run(server.start())
        asyncio.run(server.stop(0))
        assert server.pending == 0


def test_a_start_that_fails_leaves_no_listener(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither a port that is taken, nor a socket's file."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with bind("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    service = Service(make_shared(), Settings())
    for host, number in (("127.0.0.1", port), (str(tmp_path / "a.sock"), None)):
        with pytest.raises(UsageError, match="set TMPDIR to one that can be written"):
            asyncio.run(GrpcServer(service, host, number).start())
    bind("127.0.0.1", port).close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("limit", "found"), [(1 << 20, None), (1024, 160)])
def test_it_says_where_descriptors_are_few(monkeypatch: pytest.MonkeyPatch, limit: int, found: int | None) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    assert GrpcServer(Service(make_shared(), Settings()), "127.0.0.1", 0).connections == found


def test_a_server_that_stops_answers_what_it_has_and_takes_no_more(png: bytes) -> None:
    with held(Settings()) as (called, server, running):
        waiting = called.future("ModelInfer", image_request(png))
        called.engine.wait_entered()
        server.stop()
        until(lambda: refused(called))
        assert not waiting.done()
        called.engine.gate.set()
        assert waiting.result().model_name == "pets"
        running.result()


def test_what_is_not_answered_in_time_is_told_so(png: bytes) -> None:
    with held(Settings(drain_timeout=0.2)) as (called, server, running):
        waiting = called.future("ModelInfer", image_request(png))
        called.engine.wait_entered()
        server.stop()
        assert waiting.exception().code() is grpc.StatusCode.UNAVAILABLE
        assert waiting.details().startswith("the server is shutting down and could not answer in time")
        called.engine.gate.set()
        with pytest.raises(EngineError, match=r"1 request was not finished within 0\.2 seconds"):
            running.result()


def streamed(called: Called, *requests: bytes) -> grpc.Call:
    """Return a stream whose client sends so much and does not end it."""
    sent: SimpleQueue[bytes] = SimpleQueue()
    for request in requests:
        sent.put(request)
    answers: grpc.Call = called.channel.stream_stream(f"/{SERVICE}/ModelStreamInfer")(iter(sent.get, None))
    return answers


def test_an_idle_stream_does_not_hold_the_end_up(png: bytes) -> None:
    with held(Settings(drain_timeout=100 * WAIT_S)) as (called, server, running):
        called.engine.gate.set()
        used, fresh = streamed(called, image_request(png)), streamed(called)
        next(used)
        until(lambda: called.open_calls == 2)
        server.stop()
        running.result(WAIT_S)
        for stream in (used, fresh):
            assert stream.code() is grpc.StatusCode.UNAVAILABLE
            assert stream.details() == "the server is shutting down; send further requests to another one"


def test_what_a_stream_has_sent_is_answered_before_it_ends(png: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "LAST_S", 1.0)
    monkeypatch.setattr(places, "MOST_S", WAIT_S)
    with held(Settings(drain_timeout=100 * WAIT_S)) as (called, server, running):
        stream = streamed(called, image_request(png), image_request(png, model="digits"))
        called.engine.wait_entered()
        server.stop()
        until(lambda: refused(called))
        called.engine.gate.set()
        assert len([next(stream), next(stream)]) == 2
        running.result(WAIT_S)
        assert stream.code() is grpc.StatusCode.UNAVAILABLE
