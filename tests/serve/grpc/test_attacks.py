"""Attacks on HTTP/2 that others were brought down by, on real sockets against a real server: it answers meanwhile."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import grpc
import pytest

from adaptertune_deploy.serve.settings import Settings
from benchmarks.clients.http2 import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    RESET,
    SETTINGS,
    WINDOW,
    Connection,
    call,
    frame,
    head,
    size,
)
from tests.serve.fakes import WAIT_S
from tests.serve.grpc.conftest import Called, Launcher
from tests.serve.grpc.test_calls import INFER, LIVE, check_well, port_of

CALM, FRAME_SIZE = 0xB, 0x6
PRIORITY, INITIAL_WINDOW, UNKNOWN = 2, 4, 0x42
FROZEN_S = 5.0  # what an answer takes at most that takes milliseconds; a frozen server took ten seconds
PAGE = bytes(16_384)
NOTHING: Iterator[bytes] = iter(())


def cut_off(called: Called) -> dict[str, int]:
    """Return why the guard ended connections, as the metrics say."""
    start = 'atd_grpc_cut_off_total{reason="'
    lines = called.service.metrics.render().decode().splitlines()
    found = [line.removeprefix(start).split('"} ') for line in lines if line.startswith(start)]
    return {reason: int(float(count)) for reason, count in found}


def farewell(connection: Connection, more: Iterator[bytes] | None = None) -> int | None:
    """Read to the end, and answer pings, each with one of `more` behind it.

    Return the code of the last GOAWAY, None where there was none.
    """
    code = None
    while (found := connection.read()) is not None:
        kind, flags, _, payload = found
        if kind == GOAWAY:
            code = int.from_bytes(payload[4:8], "big")
        elif kind == PING and not flags & ACK:
            connection.send(frame(PING, ACK, 0, payload), next(more or NOTHING, b""))
    return code


@contextmanager
def attacked(called: Called, *frames: bytes, parts: int = 5) -> Iterator[Connection]:
    """Send frames over one connection, and see that health answers in between."""
    step = max(1, len(frames) // parts)
    with Connection(port_of(called)) as connection:
        for start in range(0, len(frames), step):
            connection.send(*frames[start : start + step])
            assert called.http.get("/v2/health/live", timeout=FROZEN_S).status_code == 200
        yield connection


def literal(name: bytes, value: bytes) -> bytes:
    """Return a header that goes into the table of RFC 7541, section 6.2.1."""
    return b"\x40" + size(len(name)) + name + size(len(value)) + value


VALUE = b"\0" + size(1) + b"a" + size(10**8)  # a header whose value has so many octets
# name -> (how the head begins, what comes again and again)
ENDLESS_HEADS = {
    "one value": (VALUE, frame(CONTINUATION, 0, 1, PAGE), 600),
    "one value, octet by octet": (VALUE, frame(CONTINUATION, 0, 1, b"x"), 100_000),
    "many values": (b"\x40" + size(1) + b"a" + size(1) + b"b", frame(CONTINUATION, 0, 1, b"\xbe" * 16_384), 600),
    "nothing": (b"", frame(CONTINUATION, 0, 1), 100_000),
}


@pytest.mark.case(
    "A6",
    "gRPC: a head without an end in ten megabytes of CONTINUATION, before the server's settings are acknowledged and "
    "after (CVE-2024-27316)",
    "GOAWAY after two heads' worth; health answers meanwhile",
)
@pytest.mark.parametrize("acknowledged", [False, True], ids=["unacknowledged", "acknowledged"])
@pytest.mark.parametrize(("begun", "more", "times"), ENDLESS_HEADS.values(), ids=ENDLESS_HEADS)
def test_a_head_without_an_end(
    server: Called, png: bytes, begun: bytes, more: bytes, times: int, acknowledged: bool
) -> None:
    before = cut_off(server).get("head", 0)
    first = [frame(SETTINGS, ACK)] if acknowledged else []
    with attacked(server, *first, frame(HEADERS, 0, 1, head(LIVE) + begun), *[more] * times) as connection:
        assert farewell(connection) == CALM
    assert cut_off(server)["head"] == before + 1
    check_well(server, png)


@pytest.mark.case(
    "A6", "gRPC: heads that name a large header thousands of times", "refused or let be; health answers meanwhile"
)
@pytest.mark.parametrize("acknowledged", [False, True], ids=["unacknowledged", "acknowledged"])
def test_heads_that_unpack_to_a_thousand_times_their_size(server: Called, png: bytes, acknowledged: bool) -> None:
    planted = head(LIVE) + literal(b"a", b"x" * 4000)
    bomb = head(LIVE) + b"\xbe" * 30_000  # the newest header of the table, 4 kB each time
    frames = [frame(SETTINGS, ACK)] if acknowledged else []
    frames.append(frame(HEADERS, END_HEADERS, 1, planted))
    for stream in range(3, 203, 2):
        frames += [frame(HEADERS, 0, stream, bomb[:16_000]), frame(CONTINUATION, END_HEADERS, stream, bomb[16_000:])]
    with attacked(server, *frames):
        pass
    check_well(server, png)


def resets(stream: int) -> bytes:
    return call(stream, INFER, None) + frame(RESET, 0, stream, (8).to_bytes(4, "big"))


FLOODS: dict[str, tuple[str, list[bytes]]] = {
    "calls that are reset at once (CVE-2023-44487)": ("resets", [resets(stream) for stream in range(1, 4000, 2)]),
    "calls beyond the number of open ones (CVE-2025-8671)": (
        "calls",
        [call(stream, INFER, None) for stream in range(1, 8000, 2)],
    ),
    "settings (CVE-2019-9515)": ("overhead", [frame(SETTINGS)] * 20_000),
    "windows": ("overhead", [frame(WINDOW, 0, 0, (1).to_bytes(4, "big"))] * 20_000),
    "windows of a call (CVE-2019-9511)": (
        "overhead",
        [call(1, INFER, None), *[frame(WINDOW, 0, 1, (1).to_bytes(4, "big"))] * 20_000],
    ),
    "priorities (CVE-2019-9513)": ("overhead", [frame(PRIORITY, 0, 1, bytes(5))] * 20_000),
    "farewells": ("overhead", [frame(GOAWAY, 0, 0, bytes(8))] * 20_000),
    "frames of no known kind": ("overhead", [frame(UNKNOWN, 0, 0, bytes(8))] * 20_000),
    "empty data (CVE-2019-9518)": ("overhead", [call(1, INFER, None), *[frame(DATA, 0, 1)] * 20_000]),
    "single octets of data (CVE-2019-9511)": (
        "overhead",
        [call(1, INFER, None), *[frame(DATA, 0, 1, b"\0")] * 20_000],
    ),
}


@pytest.mark.case(
    "A6",
    "gRPC: floods of resets, refused calls, settings, windows, priorities, farewells, unknown frames, empty data",
    "GOAWAY; health answers meanwhile, valid calls after",
)
@pytest.mark.parametrize(("reason", "frames"), FLOODS.values(), ids=FLOODS)
def test_a_flood_ends_its_connection(server: Called, png: bytes, reason: str, frames: list[bytes]) -> None:
    before = cut_off(server)
    with attacked(server, frame(SETTINGS, ACK), *frames) as connection:
        assert farewell(connection) == CALM
    grown = {name for name, count in cut_off(server).items() if count > before.get(name, 0)}
    # Calls that are refused are too many before or after the library says so, whichever comes first.
    assert grown == {reason} or grown | {reason} == {"resets", "calls"}
    check_well(server, png)


@pytest.mark.case("A6", "gRPC: a flood of pings (CVE-2019-9512)", "GOAWAY; health answers meanwhile, valid calls after")
def test_a_flood_of_pings_ends_its_connection(server: Called, png: bytes) -> None:
    with attacked(server, frame(SETTINGS, ACK), *[frame(PING, 0, 0, b"12345678")] * 20_000) as connection:
        assert farewell(connection) == CALM
    check_well(server, png)


HUGE = {
    "data, an octet more than the library takes": (call(1, INFER, None) + b"\x40\0\1\0\0\0\0\0\1" + PAGE, None),
    "data": (call(1, INFER, None) + b"\xff\xff\xff\0\0\0\0\0\1" + PAGE, None),
    "settings": (b"\xff\xff\xff\4\0\0\0\0\0" + PAGE, FRAME_SIZE),
    "farewell": (b"\xff\xff\xff\7\0\0\0\0\0" + PAGE, FRAME_SIZE),
    "no known kind": (b"\xff\xff\xff\x42\0\0\0\0\0" + PAGE, FRAME_SIZE),
    "head": (b"\xff\xff\xff\1\4\0\0\0\1" + PAGE, CALM),
}


@pytest.mark.case("A8", "gRPC: frames of up to 16 megabytes", "refused from the frame's head, the connection closed")
@pytest.mark.parametrize(("data", "code"), HUGE.values(), ids=HUGE)
@pytest.mark.parametrize("acknowledged", [False, True], ids=["unacknowledged", "acknowledged"])
def test_a_huge_frame_ends_its_connection(
    server: Called, png: bytes, data: bytes, code: int | None, acknowledged: bool
) -> None:
    first = [frame(SETTINGS, ACK)] if acknowledged else []
    with attacked(server, *first, data) as connection:
        found = farewell(connection)
    assert code is None or found == code  # data is the library's to refuse, in words of its own
    check_well(server, png)


@pytest.mark.case("A6", "gRPC: a greeting that comes byte by byte, or half of it", "closed at `--header-timeout`")
@pytest.mark.parametrize("begun", [b"", PREFACE[:10], PREFACE, PREFACE + frame(SETTINGS, 0, 0, bytes(6))[:12]])
def test_a_slow_greeting_ends_its_connection(launch: Launcher, png: bytes, begun: bytes) -> None:
    called = launch(Settings(header_timeout=0.2))
    with Connection(port_of(called), greet=False) as connection:
        connection.send(begun)
        assert farewell(connection) is None
    assert cut_off(called) == {"greeting": 1}
    check_well(called, png)


@pytest.mark.case("A6", "gRPC: a head that stops midway", "GOAWAY at `--header-timeout`")
def test_a_slow_head_ends_its_connection(launch: Launcher, png: bytes) -> None:
    called = launch(Settings(header_timeout=0.2))
    with Connection(port_of(called)) as connection:
        connection.send(frame(SETTINGS, ACK), frame(HEADERS, 0, 1, head(LIVE)))
        assert farewell(connection) == CALM
    assert cut_off(called) == {"head": 1}
    check_well(called, png)


@pytest.mark.case(
    "A6",
    "gRPC: calls whose answers find no window, on every place of a connection (CVE-2019-9517)",
    "GOAWAY once no honest answer takes as long",
)
def test_answers_that_find_no_window_end_their_connection(launch: Launcher, png: bytes) -> None:
    called = launch(Settings(keep_alive=0.2, request_timeout=1.0, answer_timeout=0.2, max_connections=128))
    none = frame(SETTINGS, 0, 0, struct.pack(">HI", INITIAL_WINDOW, 0))
    with Connection(port_of(called), greet=False) as connection:
        connection.send(PREFACE, none, frame(SETTINGS, ACK))
        connection.send(*[call(stream, LIVE, b"") for stream in range(1, 33, 2)])
        # Where nothing else goes on, the library takes the connection for idle.
        assert farewell(connection, (call(stream, INFER, None) for stream in range(33, 999, 2))) == CALM
    assert cut_off(called) == {"answer": 1}
    check_well(called, png)


@pytest.mark.case("A6", "gRPC: idle connections, as many as there may be", "the one that idles longest makes room")
def test_idle_connections_make_room(launch: Launcher, png: bytes) -> None:
    called = launch(Settings(max_connections=4))
    with ExitStack() as stack:
        idle = [stack.enter_context(Connection(port_of(called))) for _ in range(8)]
        for connection in idle:
            connection.send(frame(SETTINGS, ACK))
        check_well(called, png)
    assert cut_off(called)["room"] >= 5


def test_a_head_that_is_hardly_too_large_costs_its_call_alone(server: Called) -> None:
    with grpc.insecure_channel(server.target, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        stub = channel.unary_unary(LIVE)
        assert stub(b"", timeout=WAIT_S, wait_for_ready=True)
        with pytest.raises(grpc.RpcError) as caught:
            stub(b"", metadata=(("a", "x" * 40_000),), timeout=WAIT_S, wait_for_ready=True)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED, caught.value.details()
        assert stub(b"", timeout=WAIT_S, wait_for_ready=True)


def test_a_busy_client_is_never_ended(server: Called) -> None:
    before = cut_off(server)
    with grpc.insecure_channel(server.target, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        stub = channel.unary_unary(LIVE)
        for _ in range(30):
            for given_up in [stub.future(b"", timeout=WAIT_S) for _ in range(20)]:
                given_up.cancel()
            assert [answer.result() for answer in [stub.future(b"", timeout=WAIT_S) for _ in range(60)]]
    assert cut_off(server) == before
