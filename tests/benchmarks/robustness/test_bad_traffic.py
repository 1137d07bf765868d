"""benchmarks.robustness.bad_traffic: attacks end when they are cancelled, at any moment, and leave nothing open."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import socketserver
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks.robustness.bad_traffic import LEAVES, Attack, Tally, harm

KINDS = {LEAVES: Attack(b"x", ()), "silent": Attack(b"", ()), "refused": Attack(b"x", (400,))}


class Refuse(socketserver.BaseRequestHandler):
    """Answer 400 to whatever comes, and stay until the client has closed."""

    def handle(self) -> None:
        self.request.settimeout(10)
        with contextlib.suppress(OSError):
            self.request.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            self.request.shutdown(socket.SHUT_WR)
            while self.request.recv(4096):
                pass


class Server(socketserver.ThreadingTCPServer):
    """One that waits for its clients to leave when it is closed."""

    daemon_threads = False
    request_queue_size = 128


@pytest.fixture
def port() -> Iterator[int]:
    with Server(("127.0.0.1", 0), Refuse) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


async def _ended(attacking: asyncio.Future[None]) -> None:
    attacking.cancel()
    await asyncio.wait([attacking])
    assert attacking.cancelled()


def test_every_kind_comes_and_is_counted(port: int) -> None:
    tally = Tally()

    async def play() -> None:
        attacking = asyncio.ensure_future(harm(port, KINDS, 0, tally, held=2))
        while tally.rounds < 3:
            await asyncio.sleep(0)
        await _ended(attacking)

    asyncio.run(play())
    assert tally.wrong == []
    assert tally.statuses.keys() == KINDS.keys()
    assert set(tally.statuses["refused"]) == {400}
    assert set(tally.statuses["silent"]) == {0}


@pytest.mark.parametrize("nth", [1, 2, 3, 5])
def test_a_connection_that_opens_while_its_client_is_cancelled_is_closed(
    port: int, nth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening, opened = asyncio.open_connection, []

    async def play() -> None:
        now = asyncio.Event()

        async def open_and_cancel(*place: Any) -> Any:
            streams = await opening(*place)
            opened.append(streams)
            if len(opened) == nth:
                attacking.cancel()  # in the step of the loop in which the connection is handed on
                now.set()
            return streams

        monkeypatch.setattr(asyncio, "open_connection", open_and_cancel)
        attacking = asyncio.ensure_future(harm(port, KINDS, 0, Tally()))
        await now.wait()
        await _ended(attacking)

    asyncio.run(play())
    assert len(opened) == nth
    assert all(writer.is_closing() for _, writer in opened)
