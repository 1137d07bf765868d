from __future__ import annotations

import asyncio

import pytest

from adaptertune_deploy.serve.grpc.guard.connection import MAX_DISCARDED, Connection, Stage
from adaptertune_deploy.serve.grpc.guard.frames import (
    ACKNOWLEDGED,
    ENHANCE_YOUR_CALM,
    NO_SETTINGS,
    PROTOCOL_ERROR,
    farewell,
)
from adaptertune_deploy.serve.settings import Settings
from benchmarks.clients.http2 import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PING,
    PREFACE,
    RESET,
    SETTINGS,
    WINDOW,
    call,
    frame,
)
from tests.serve.grpc.guard.conftest import GREETING, Ends, Guarded, guarded, play, until

BODY = frame(DATA, 0, 1, b"body")
HEAD = frame(HEADERS, END_HEADERS, 1, b"head")
BROKEN = frame(CONTINUATION, END_HEADERS, 1)
BROKEN_TEXT = "a head is broken off, or goes on that never began"
MUCH = 30_000_000


def only(found: Guarded) -> Connection:
    (connection,) = found.guard._connections
    return connection


async def send(end: Ends, data: bytes) -> None:
    end[1].write(data)
    await end[1].drain()


def test_bytes_go_both_ways_as_they_are() -> None:
    async def body() -> None:
        async with guarded() as found:
            client, library = await found.pair()
            request = HEAD + b"".join(frame(DATA, 0, 1, bytes([n]) * 16_384) for n in range(200))
            answer = frame(HEADERS, END_HEADERS, 1, b"x") + frame(DATA, END_STREAM, 1, b"y" * 3_000_000)
            sending = asyncio.gather(send(client, request), send(library, answer))
            assert await library[0].readexactly(len(request)) == request
            assert await client[0].readexactly(len(answer)) == answer
            await sending
            assert found.reasons == []
            assert only(found).idle

    play(body())


def test_who_has_not_greeted_reaches_nobody() -> None:
    async def body() -> None:
        async with guarded() as found:
            client = await found.client()
            for place in range(len(GREETING)):
                assert found.joined.empty()
                await send(client, GREETING[place : place + 1])
            library = await found.joined.get()
            assert await library[0].readexactly(len(GREETING)) == GREETING

    play(body())


@pytest.mark.parametrize("cut", range(1, 9))
def test_settings_are_acknowledged_once_before_anything_else(cut: int) -> None:
    """By the guard, before the first head; the client's own word is left out, wherever it is cut, a later one not."""

    async def body() -> None:
        async with guarded() as found:
            client, library = await found.pair(HEAD + ACKNOWLEDGED[:cut])
            assert await library[0].readexactly(len(HEAD)) == HEAD
            await send(client, ACKNOWLEDGED[cut:] + BODY + ACKNOWLEDGED + BODY)
            expected = BODY + ACKNOWLEDGED + BODY
            assert await library[0].readexactly(len(expected)) == expected

    play(body())


def test_nothing_goes_on_before_the_library_has_said_its_settings() -> None:
    async def body() -> None:
        async with guarded() as found:
            client = await found.client(GREETING + HEAD)
            library = await found.joined.get()
            assert await library[0].readexactly(len(GREETING)) == GREETING
            await send(library, frame(WINDOW, 0, 0, bytes(4)))
            assert await client[0].readexactly(13) == frame(WINDOW, 0, 0, bytes(4))
            await send(library, NO_SETTINGS)
            assert await library[0].readexactly(9 + len(HEAD)) == ACKNOWLEDGED + HEAD

    play(body())


def test_a_library_that_closes_at_once_is_followed() -> None:
    async def body() -> None:
        async with guarded() as found:
            client = await found.client(GREETING)
            library = await found.joined.get()
            library[1].close()
            assert await client[0].read() == b""
            client[1].close()
            await until(lambda: len(found.guard) == 0)

    play(body())


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00", PREFACE[:-1] + b"x"])
def test_what_is_no_http2_is_closed_without_a_word(data: bytes) -> None:
    async def body() -> None:
        async with guarded() as found:
            client = await found.client(data)
            assert await client[0].read() == b""
            assert (found.reasons, found.joined.empty()) == (["greeting"], True)

    play(body())


@pytest.mark.parametrize("data", [frame(PING, 0, 0, bytes(8)), frame(SETTINGS, 1), frame(SETTINGS, 0, 0, bytes(198))])
def test_who_does_not_begin_with_settings_is_told_so(data: bytes) -> None:
    async def body() -> None:
        async with guarded() as found:
            client = await found.client(PREFACE + data)
            text = "a client's first frame has its settings"
            assert await client[0].read() == NO_SETTINGS + farewell(0, PROTOCOL_ERROR, text)
            assert (found.reasons, found.joined.empty()) == (["greeting"], True)

    play(body())


def test_who_breaks_a_rule_is_told_so_behind_what_was_answered() -> None:
    async def body() -> None:
        async with guarded() as found:
            client, library = await found.pair()
            answer = frame(SETTINGS) + frame(PING, 0, 0, bytes(8))
            await send(library, answer)
            assert await client[0].readexactly(len(answer)) == answer
            await send(client, call(7, "/a/b", None))
            await library[0].readexactly(len(call(7, "/a/b", None)))
            await send(client, BROKEN)
            assert await client[0].read() == farewell(7, PROTOCOL_ERROR, BROKEN_TEXT)
            assert await library[0].read() == b""
            assert found.reasons == ["frame"]

    play(body())


def test_no_word_is_put_into_the_middle_of_a_frame() -> None:
    async def body() -> None:
        async with guarded() as found:
            client, library = await found.pair()
            half = frame(DATA, 0, 1, bytes(100))[:50]
            await send(library, half)
            assert await client[0].readexactly(50) == half
            await send(client, BROKEN)
            assert await client[0].read() == b""
            assert found.reasons == ["frame"]

    play(body())


def test_calls_that_the_library_refuses_too_fast_end_the_connection() -> None:
    async def body() -> None:
        async with guarded() as found:
            client, library = await found.pair()
            for stream in range(1, 4001, 2):
                client[1].write(call(stream, "/a/b", None))
                if not await library[0].read(100_000):
                    break
                library[1].write(frame(RESET, 0, stream, (7).to_bytes(4, "big")))
            assert found.reasons == ["resets"]
            word = farewell(0, ENHANCE_YOUR_CALM, "calls are given up or refused too fast")
            assert word[-40:] in await client[0].read()

    play(body())


@pytest.mark.parametrize("from_client", [True, False])
def test_who_takes_nothing_is_sent_no_more(from_client: bool) -> None:
    """The sender stands still, what is held is bounded, and nothing of it is lost."""

    async def body() -> None:
        async with guarded() as found:
            ends = await found.pair()
            sender, taker = ends if from_client else ends[::-1]
            part = frame(DATA, 0, 1, bytes(16_384 - 9))
            data = (HEAD + part * (MUCH // len(part))) if from_client else part * (MUCH // len(part))
            taker[1].transport.pause_reading()  # type: ignore[attr-defined]
            sender[1].write(data)
            connection = only(found)
            inside = connection._inside
            assert inside is not None
            paused, writing = (connection._outside, inside) if from_client else (inside, connection._outside)
            await until(lambda: not paused.is_reading())
            assert 0 < writing.get_write_buffer_size() < 600_000
            taker[1].transport.resume_reading()  # type: ignore[attr-defined]
            assert await taker[0].readexactly(len(data)) == data

    play(body())


def test_who_only_sends_no_more_is_answered() -> None:
    async def body() -> None:
        async with guarded() as found:
            client, library = await found.pair()
            client[1].write(HEAD)
            client[1].write_eof()
            assert await library[0].read() == HEAD
            await send(library, frame(HEADERS, END_STREAM, 1, b"answer"))
            library[1].close()
            assert await client[0].read() == frame(HEADERS, END_STREAM, 1, b"answer")
            await until(lambda: len(found.guard) == 0)
            assert found.reasons == []

    play(body())


def test_who_leaves_is_gone_for_the_library_too() -> None:
    async def body() -> None:
        async with guarded() as found:
            client, library = await found.pair()
            client[1].close()
            assert await library[0].read() == b""
            library[1].close()  # as gRPC's does; whether a client only half-closed is not seen from here
            await until(lambda: len(found.guard) == 0)
            client, library = await found.pair()
            connection = only(found)
            connection.abort()  # what a reset does
            assert await library[0].read() == b""
            await until(lambda: len(found.guard) == 0)
            assert found.reasons == []

    play(body())


def test_what_the_library_said_last_is_read() -> None:
    async def body() -> None:
        async with guarded() as found:
            client, library = await found.pair()
            client[1].write(frame(PING, 0, 0, bytes(8)))
            last = frame(DATA, 0, 1, bytes(2_000_000))
            library[1].write(last)
            library[1].close()
            assert await client[0].read() == last
            client[1].close()
            await until(lambda: len(found.guard) == 0)

    play(body())


def test_what_still_comes_is_thrown_away_for_a_while() -> None:
    async def body() -> None:
        async with guarded() as found:
            client, _ = await found.pair()
            await send(client, BROKEN + bytes(1000))
            assert farewell(0, PROTOCOL_ERROR, BROKEN_TEXT) in await client[0].read()
            assert only(found).stage is Stage.ENDING
            client[1].write(bytes(MAX_DISCARDED + 1))
            await until(lambda: len(found.guard) == 0)
            assert found.reasons == ["frame"]

    play(body())


def test_who_does_not_close_is_closed() -> None:
    async def body() -> None:
        async with guarded() as found:
            client, _ = await found.pair()
            await send(client, BROKEN)
            await client[0].read()
            connection = only(found)
            connection.check(connection.since + 1.9)
            assert len(found.guard) == 1
            connection.check(connection.since + 2.1)
            await until(lambda: len(found.guard) == 0)

    play(body())


LATE = Settings(header_timeout=10.0, answer_timeout=30.0, keep_alive=75.0, request_timeout=60.0)


def test_a_head_that_does_not_end_is_waited_for_so_long() -> None:
    async def body() -> None:
        async with guarded(LATE) as found:
            client, library = await found.pair()
            await send(client, frame(HEADERS, 0, 1, b"x"))
            await library[0].readexactly(10)
            connection = only(found)
            connection.check(connection.since + 9.9)
            assert found.reasons == []
            connection.check(connection.since + 10.1)
            assert found.reasons == ["head"]
            assert await client[0].read() == farewell(1, ENHANCE_YOUR_CALM, "a head did not come in time")

    play(body())


def test_an_answer_is_waited_for_as_long_as_an_honest_one_may_take() -> None:
    async def body() -> None:
        async with guarded(LATE) as found:
            client, library = await found.pair()
            await send(client, HEAD)
            await library[0].readexactly(len(HEAD))
            connection = only(found)
            connection.check(connection.since + 1000.0)  # not begun: the call's own deadline holds
            begun = frame(HEADERS, END_HEADERS, 1, b"x")
            await send(library, begun)
            await client[0].readexactly(len(begun))
            connection.check(connection.since + 164.0)
            assert found.reasons == []
            connection.check(connection.since + 170.0)
            assert found.reasons == ["answer"]

    play(body())


def test_who_reads_nothing_is_waited_for_so_long() -> None:
    async def body() -> None:
        async with guarded(LATE) as found:
            client, library = await found.pair()
            client[1].transport.pause_reading()  # type: ignore[attr-defined]
            library[1].write(frame(DATA, 0, 1, bytes(MUCH // 2)) * 2)
            connection = only(found)
            await until(lambda: connection._full_since is not None)
            assert connection._full_since is not None
            connection.check(connection._full_since + 29.9)
            assert found.reasons == []
            connection.check(connection._full_since + 30.1)
            assert found.reasons == ["answer"]

    play(body())
