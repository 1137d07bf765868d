from __future__ import annotations

import asyncio
import errno
import select
import socket
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.serve.http.wire.listener import Arrivals, listen
from adaptertune_deploy.serve.http.wire.watch import Watch
from adaptertune_deploy.serve.listening.address import bind
from adaptertune_deploy.serve.settings import Settings
from tests.serve.conftest import Launcher
from tests.serve.fakes import WAIT_S, wait_until
from tests.serve.http.raw_http import HEAD, LIVE, Wire, statuses

ROOT = Path(__file__).parents[3]


def test_who_listens_on_a_place_second_is_told_where() -> None:
    with bind("127.0.0.1", 0) as first, bind("127.0.0.1", first.getsockname()[1]) as second:
        listen(first)
        with pytest.raises(
            UsageError, match=rf"can't listen on 127\.0\.0\.1:{first.getsockname()[1]} \(Address already"
        ):
            listen(second)


@pytest.mark.case("A6", "silent connections up to the limit, or such with 15 kB of a head", "others are answered")
@pytest.mark.parametrize("sent", [b"", LIVE[:-2] + b"A: " + b"x" * 15_000])
def test_silent_connections_make_room_for_those_that_ask(launch: Launcher, sent: bytes) -> None:
    running = launch(settings=Settings(max_connections=4))
    running.client.close()
    with ExitStack() as stack:
        silent = [stack.enter_context(Wire(running.port)) for _ in range(20)]
        for wire in silent:
            with suppress(ConnectionError):
                wire.send(sent)

        def is_answered() -> bool:
            with Wire(running.port) as wire:
                return wire.send(LIVE).read_answer() == (200, {"live": True})

        wait_until(is_answered)  # whose bytes lie unread keeps its place until they are read
        assert [is_answered() for _ in range(3)] == [True] * 3
        wait_until(lambda: len(select.select([wire.socket for wire in silent], [], [], 0)[0]) >= 16)


@pytest.mark.case(
    "A6", "more clients that wait for answers than connections", "503 for the next one, the others answered"
)
def test_where_every_connection_is_owed_an_answer_the_next_one_is_told(launch: Launcher, png: bytes) -> None:
    running = launch(settings=Settings(max_connections=2))
    running.client.close()
    running.engine.gate.clear()
    request = b"POST /v1/predict HTTP/1.1\r\n" + HEAD + b"Content-Length: %d\r\n\r\n" % len(png) + png
    with Wire(running.port) as first, Wire(running.port) as second:
        first.send(request)
        running.engine.wait_entered()
        second.send(request)
        while running.service.batcher.admitted < 6:
            pass
        with Wire(running.port) as third:
            answer = third.read_all()
        assert statuses(answer) == [503]
        assert b"Retry-After: 1" in answer
        assert answer.endswith(b'{"error":"every connection is taken; try again later"}')
        running.engine.gate.set()
        assert [wire.read_answer()[0] for wire in (first, second)] == [200, 200]


@pytest.mark.case("A6", "descriptors used up otherwise", "one line of log, patience")
def test_running_out_of_descriptors_is_met_with_patience(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One line of log, one connection let go of and one wait for each failure; then it goes on."""
    failures = [errno.EMFILE, errno.ECONNABORTED, errno.EMFILE, errno.ENFILE]
    made: list[str] = []
    slept: list[float] = []

    class Failing(socket.socket):
        def accept(self) -> tuple[socket.socket, Any]:
            if failures:
                raise OSError(failures.pop(0), "Too many open files")
            return super().accept()

    async def play() -> None:
        loop, sleep = asyncio.get_running_loop(), asyncio.sleep
        ended = asyncio.Event()

        async def noted(seconds: float) -> None:
            if asyncio.get_running_loop() is not loop:  # a server that is ending in another thread
                await sleep(seconds)
                return
            slept.append(seconds)
            await sleep(0)

        class Taken(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                made.append("taken")
                transport.close()
                ended.set()

        monkeypatch.setattr(asyncio, "sleep", noted)
        with Failing() as listener:
            listener.bind(("127.0.0.1", 0))
            listen(listener)
            arrivals = Arrivals(listener, Watch(Settings()), Taken)
            task = loop.create_task(arrivals.take())
            with socket.create_connection(listener.getsockname(), WAIT_S):
                await asyncio.wait_for(ended.wait(), WAIT_S)
            arrivals.end()
            await asyncio.wait_for(task, WAIT_S)

    asyncio.run(play())
    assert made == ["taken"]
    assert len(slept) == 3
    assert caplog.text.count("connections can't be taken") == 1


def test_what_waits_at_the_end_is_taken_before_the_socket_is_closed() -> None:
    """More than one turn of the event loop takes, by way of a reader that is being awaited or not."""
    made: list[asyncio.BaseTransport] = []

    class Taken(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            made.append(transport)

    async def play(turns: int) -> None:
        made.clear()
        with socket.create_server(("127.0.0.1", 0)) as listener, ExitStack() as stack:
            listen(listener)
            where = listener.getsockname()
            arrivals = Arrivals(listener, Watch(Settings()), Taken)
            task = asyncio.ensure_future(arrivals.take())
            for _ in range(turns):
                await asyncio.sleep(0)
            clients = [stack.enter_context(socket.create_connection(where, WAIT_S)) for _ in range(20)]
            arrivals.end()
            await asyncio.wait_for(task, WAIT_S)
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(where, WAIT_S)
            assert len(made) == 20
            for transport in made:
                assert isinstance(transport, asyncio.WriteTransport)
                transport.write(b"x")
            await asyncio.sleep(0)
            assert {client.recv(1) for client in clients} == {b"x"}

    for turns in range(4):
        asyncio.run(play(turns))


def test_at_the_end_too_there_is_no_more_room_than_there_is() -> None:
    async def play() -> bytes:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listen(listener)
            watch = Watch(Settings())
            watch.capacity = 0
            arrivals = Arrivals(listener, watch, asyncio.Protocol)
            with socket.create_connection(listener.getsockname(), WAIT_S) as client:
                arrivals.end()
                await asyncio.wait_for(arrivals.take(), WAIT_S)
                return client.recv(65_536)

    assert statuses(asyncio.run(play())) == [503]


FEW = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))
from tests.serve.http.held_server import main
main()
"""


@pytest.mark.case("A6", "more silent connections than descriptors", "others are answered, nothing is logged")
def test_a_process_with_few_descriptors_goes_on_answering() -> None:
    command = [sys.executable, "-c", FEW, "fine"]
    pipe = subprocess.PIPE
    with (
        subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as child,
        ExitStack() as stack,
    ):
        stack.callback(child.kill)
        assert child.stdout is not None
        assert child.stderr is not None
        port = int(child.stdout.readline().removeprefix("listening "))
        for _ in range(200):
            stack.enter_context(Wire(port))
        for _ in range(3):
            with Wire(port) as wire:
                assert wire.send(LIVE).read_answer()[0] == 200
        child.kill()
        assert child.stderr.read() == ""
