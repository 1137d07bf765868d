from __future__ import annotations

import asyncio
import logging
import resource
import socket
from pathlib import Path

import pytest

from adaptertune_deploy.serve.grpc.guard import guard as guard_module
from adaptertune_deploy.serve.grpc.guard.frames import ACKNOWLEDGED, NO_ERROR, NO_SETTINGS, farewell
from adaptertune_deploy.serve.grpc.guard.guard import capacity
from adaptertune_deploy.serve.listening.descriptors import RESERVED
from adaptertune_deploy.serve.settings import Settings
from benchmarks.clients.http2 import END_HEADERS, HEADERS, PREFACE, frame
from tests.serve.fakes import WAIT_S
from tests.serve.grpc.guard.conftest import GREETING, guarded, play, until

HEAD = frame(HEADERS, END_HEADERS, 1, b"head")
ROOM = farewell(0, NO_ERROR, "the connection idled, and others waited for its place")


@pytest.mark.parametrize(("limit", "found"), [(1 << 20, 512), (1024, 160), (70, 1), (resource.RLIM_INFINITY, 512)])
def test_connections_leave_descriptors_for_http(limit: int, found: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    assert capacity(512) == found
    assert found == 1 or limit == resource.RLIM_INFINITY or 6 * found <= limit - RESERVED


def test_a_connection_takes_three_descriptors_and_gives_them_back() -> None:
    async def body() -> None:
        def held() -> int:
            return len(list(Path("/proc/self/fd").iterdir()))

        async with guarded() as found:
            before = held()
            pairs = [await found.pair() for _ in range(5)]
            assert held() == before + 5 * 4  # the fourth is this client's own
            for client, library in pairs:
                client[1].close()
                await library[0].read()
                library[1].close()
            await until(lambda: held() == before)

    play(body())


def test_the_one_that_is_missed_least_makes_room() -> None:
    async def body() -> None:
        async with guarded(Settings(max_connections=3)) as found:
            busy, idle = await found.pair(), await found.pair()
            busy[0][1].write(HEAD)
            assert await busy[1][0].readexactly(len(HEAD)) == HEAD
            silent = await found.client(PREFACE)
            await until(lambda: len(found.guard) == 3)
            third = await found.pair()
            assert await silent[0].read() == b""
            third[0][1].write(HEAD)
            await third[1][0].readexactly(len(HEAD))
            fourth = await found.pair()
            assert await idle[0][0].read() == ROOM
            assert await idle[1][0].read() == b""
            fourth[0][1].write(HEAD)
            await fourth[1][0].readexactly(len(HEAD))
            fifth = await found.client()
            assert await fifth[0].read() == b""
            assert found.reasons == ["room"] * 3
            assert len(found.guard) == 3

    play(body())


def test_who_is_late_with_the_greeting_is_let_go_of() -> None:
    async def body() -> None:
        async with guarded(Settings(header_timeout=0.1)) as found:
            clients = [await found.client(data) for data in (b"", PREFACE[:5], PREFACE, PREFACE + bytes(8))]
            for reader, _ in clients:
                assert await reader.read() == b""
            assert found.reasons == ["greeting"] * 4

    play(body())


@pytest.mark.case("B2", "gRPC: connections that are established, and not taken yet, when the server ends", "taken")
def test_who_is_connected_when_it_ends_is_still_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard_module, "FRESH_S", float(WAIT_S))

    async def body() -> None:
        async with guarded() as found:
            clients = [socket.create_connection(("127.0.0.1", found.port), WAIT_S) for _ in range(3)]
            refusing = asyncio.ensure_future(found.guard.refuse())
            for number, client in enumerate(clients, 1):
                await until(lambda: len(found.guard) == 3)
                client.sendall(GREETING + HEAD)
                library = await found.joined.get()
                library[1].write(NO_SETTINGS)
                assert await library[0].readexactly(len(GREETING + ACKNOWLEDGED)) == GREETING + ACKNOWLEDGED
                assert not refusing.done()
                assert await library[0].readexactly(len(HEAD)) == HEAD
                assert number == len(found.writers)
            await refusing
            for client in clients:
                client.close()

    play(body())


def test_after_the_end_nobody_is_joined_and_what_was_said_is_handed_out() -> None:
    async def body() -> None:
        async with guarded() as found:
            client, library = await found.pair()
            waiting = await found.client(PREFACE)
            await until(lambda: len(found.guard) == 2)
            await found.guard.refuse()
            with pytest.raises(ConnectionRefusedError):
                await found.client()
            last = frame(0, 1, 1, bytes(1_000_000))
            library[1].write(last)
            library[1].close()
            closing = asyncio.ensure_future(found.guard.close())
            assert await client[0].read() == last
            await closing
            assert await waiting[0].read() == b""
            await until(lambda: len(found.guard) == 0)

    play(body())


def test_where_the_library_is_gone_a_client_is_let_go_of(caplog: pytest.LogCaptureFixture) -> None:
    async def body() -> None:
        async with guarded() as found:
            found.inner.path += "-gone"
            client = await found.client(PREFACE + NO_SETTINGS)
            assert await client[0].read() == b""
            await until(lambda: len(found.guard) == 0)

    with caplog.at_level(logging.DEBUG, "adaptertune_deploy.serve.grpc.guard"):
        play(body())
    assert "127.0.0.1: no way to gRPC's library: " in caplog.text


def test_the_end_of_a_connection_is_logged_for_those_who_look(caplog: pytest.LogCaptureFixture) -> None:
    async def body() -> None:
        async with guarded() as found:
            client = await found.client(b"GET / HTTP/1.1\r\n")
            assert await client[0].read() == b""

    with caplog.at_level(logging.DEBUG, "adaptertune_deploy.serve.grpc.guard"):
        play(body())
    assert caplog.messages == ["127.0.0.1: connection ended: this is not HTTP/2"]
