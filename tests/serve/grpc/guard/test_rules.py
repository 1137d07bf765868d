"""What a client may send, without a socket: honest clients are never ended, others soon."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from adaptertune_deploy.serve.grpc.guard.frames import (
    ENHANCE_YOUR_CALM,
    FRAME_SIZE_ERROR,
    PRIORITY,
    PROTOCOL_ERROR,
)
from adaptertune_deploy.serve.grpc.guard.rules import MORE_CALLS, Rules, Violation
from adaptertune_deploy.serve.grpc.guard.streams import Streams
from adaptertune_deploy.serve.settings import Settings
from benchmarks.clients.http2 import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    RESET,
    SETTINGS,
    WINDOW,
    frame,
)

SETTINGS_OF = Settings(max_header_bytes=20_000, max_connections=512)
UNKNOWN = 0x42
ENDLESS = 100_000


def rules(calls: int = 128) -> tuple[Rules, Streams]:
    streams = Streams()
    return Rules(SETTINGS_OF, streams, calls, 0.0), streams


def fate(frames: Iterable[bytes]) -> tuple[str, int | None, int]:
    """Return why frames that come all at once end a connection, with which code, and after how many."""
    found, _ = rules()
    for count, data in enumerate(frames):
        try:
            found.feed(data, 0.0)
        except Violation as end:
            return end.reason, end.code, count
    raise AssertionError("they were all taken")


def odd(count: int = ENDLESS) -> Iterable[int]:
    return range(1, 2 * count, 2)


OVERHEAD = {
    "pings": lambda _: frame(PING, 0, 0, bytes(8)),
    "answers to pings": lambda _: frame(PING, ACK, 0, bytes(8)),
    "settings": lambda _: frame(SETTINGS),
    "answers to settings": lambda _: frame(SETTINGS, ACK),
    "windows": lambda _: frame(WINDOW, 0, 0, b"\0\0\0\1"),
    "windows of a call": lambda _: frame(WINDOW, 0, 1, b"\0\0\0\1"),
    "priorities": lambda _: frame(PRIORITY, 0, 1, bytes(5)),
    "farewells": lambda _: frame(GOAWAY, 0, 0, bytes(8)),
    "frames of no known kind": lambda _: frame(UNKNOWN, 0, 0, bytes(100)),
    "empty data": lambda _: frame(DATA, 0, 1),
    "single octets of data": lambda _: frame(DATA, 0, 1, b"x"),
    "trailers": lambda _: frame(HEADERS, END_HEADERS, 1, b"x"),
}  # fmt: skip


@pytest.mark.parametrize("make", OVERHEAD.values(), ids=OVERHEAD)
def test_frames_that_bring_nothing_are_a_thousand_at_once(make: Callable[[int], bytes]) -> None:
    first = frame(HEADERS, END_HEADERS, 1, b"x")
    reason, code, count = fate([first, *map(make, range(ENDLESS))])
    assert (reason, code) == ("overhead", ENHANCE_YOUR_CALM)
    assert 995 <= count <= 1015


@pytest.mark.parametrize("make", OVERHEAD.values(), ids=OVERHEAD)
def test_a_few_of_them_a_second_are_free(make: Callable[[int], bytes]) -> None:
    found, _ = rules()
    found.feed(frame(HEADERS, END_HEADERS, 1, b"x"), 0.0)
    for moment in range(5000):
        found.feed(make(moment), moment / 90)


def test_calls_that_are_given_up_are_a_thousand_at_once() -> None:
    pairs = (frame(HEADERS, END_HEADERS, stream, b"x") + frame(RESET, 0, stream, bytes(4)) for stream in odd())
    assert fate(pairs) == ("resets", ENHANCE_YOUR_CALM, 1000)


def test_calls_that_the_server_had_to_reset_count_too() -> None:
    found, _ = rules()
    found.reset(1000, 0.0)
    with pytest.raises(Violation, match="given up or refused"):
        found.reset(1, 0.0)
    found, _ = rules()
    for moment in range(5000):
        found.reset(1, moment / 90)


def test_calls_beyond_what_may_be_open_have_an_end() -> None:
    assert fate(frame(HEADERS, END_HEADERS, stream, b"x") for stream in odd()) == (
        "calls",
        ENHANCE_YOUR_CALM,
        128 + MORE_CALLS,
    )


def test_a_head_has_so_many_octets_and_so_many_frames() -> None:
    whole = [frame(HEADERS, 0, 1, bytes(16_384)), frame(CONTINUATION, 0, 1, bytes(16_384))]
    assert fate([*whole, frame(CONTINUATION, END_HEADERS, 1, bytes(7_233))]) == ("head", ENHANCE_YOUR_CALM, 2)
    assert fate([frame(HEADERS, END_HEADERS, 1, bytes(40_001))]) == ("head", ENHANCE_YOUR_CALM, 0)
    assert fate([frame(HEADERS, 0, 1, b"x"), *[frame(CONTINUATION, 0, 1)] * ENDLESS]) == ("head", ENHANCE_YOUR_CALM, 9)
    found, streams = rules()
    found.feed(b"".join(whole), 5.0)
    assert found.head_since == 5.0
    found.feed(frame(CONTINUATION, END_HEADERS, 1, bytes(7_232)), 6.0)
    assert found.head_since is None
    found.feed(frame(HEADERS, END_HEADERS | END_STREAM, 3, bytes(40_000)), 7.0)
    assert streams.last == 3


def test_the_length_of_a_frame_is_known_from_its_head() -> None:
    found, _ = rules()
    with pytest.raises(Violation):
        found.feed(frame(HEADERS, 0, 1, bytes(50_000))[:9], 0.0)


BROKEN = {
    "a continuation of nothing": [frame(CONTINUATION, END_HEADERS, 1, b"x")],
    "a continuation of an ended head": [
        frame(HEADERS, END_HEADERS, 1, b"x"),
        frame(CONTINUATION, END_HEADERS, 1, b"x"),
    ],
    "a continuation of another call": [frame(HEADERS, 0, 1, b"x"), frame(CONTINUATION, END_HEADERS, 3, b"x")],
    "a head within a head": [frame(HEADERS, 0, 1, b"x"), frame(HEADERS, END_HEADERS, 3, b"x")],
    "a ping within a head": [frame(HEADERS, 0, 1, b"x"), frame(PING, 0, 0, bytes(8))],
    "data within a head": [frame(HEADERS, 0, 1, b"x"), frame(DATA, 0, 1, b"x")],
    "a call of the server's": [frame(HEADERS, END_HEADERS, 2, b"x")],
    "a call without a number": [frame(HEADERS, END_HEADERS, 0, b"x")],
}


@pytest.mark.parametrize("frames", BROKEN.values(), ids=BROKEN)
def test_heads_out_of_order_are_no_http2(frames: list[bytes]) -> None:
    assert fate(frames) == ("frame", PROTOCOL_ERROR, len(frames) - 1)


@pytest.mark.parametrize(("kind", "length"), [(SETTINGS, 193), (GOAWAY, 16_385), (UNKNOWN, 16_385)])
def test_a_frame_has_so_many_octets(kind: int, length: int) -> None:
    assert fate([frame(kind, 0, 0, bytes(length))]) == ("frame", FRAME_SIZE_ERROR, 0)
    rules()[0].feed(frame(kind, 0, 0, bytes(length - 1)), 0.0)


def test_busy_clients_are_never_ended_however_fast_they_ask() -> None:
    """What grpc-go sends at its worst beside each small call: windows, a ping, an answer to one; large messages too."""
    found, streams = rules()
    around = [
        frame(WINDOW, 0, 0, b"\0\0\0\1"),
        frame(PING, 0, 0, bytes(8)),
        frame(PING, ACK, 0, bytes(8)),
    ]
    for stream in odd(20_000):
        found.feed(frame(HEADERS, END_HEADERS, stream, b"x") + frame(DATA, END_STREAM, stream, b"x"), 0.0)
        found.feed(b"".join([*around, frame(WINDOW, 0, stream, b"\0\0\0\1")]), 0.0)
        streams.answered(HEADERS, END_STREAM, stream, 0.0)
    found.feed(frame(HEADERS, END_HEADERS, 99_999, b"x"), 0.0)
    for _ in range(20_000):  # a stream of messages, each of an image of 20 kB and a rest
        found.feed(frame(DATA, 0, 99_999, bytes(16_384)) + frame(DATA, 0, 99_999, bytes(7)), 0.0)
        found.feed(b"".join(around), 0.0)
