"""What clients may send and withhold, tried with bytes on real sockets."""

from __future__ import annotations

import asyncio
import errno
import json
import select
import socket
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from time import monotonic

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from uvicorn.server import ServerState

from adaptertune_deploy.serve.http.wire import watch
from adaptertune_deploy.serve.http.wire.connection import MAX_AHEAD, Connection
from adaptertune_deploy.serve.http.wire.phase import Phase
from adaptertune_deploy.serve.http.wire.uvicorn_config import uvicorn_config
from adaptertune_deploy.serve.http.wire.watch import Watch
from adaptertune_deploy.serve.protocol import describe
from adaptertune_deploy.serve.settings import Settings
from tests.serve.conftest import Launcher, Running
from tests.serve.fakes import WAIT_S, FakeEngine
from tests.serve.http.raw_http import HEAD, LIVE, Wire, ask, refusal, statuses

POST = b"POST /v2/models/pets/infer HTTP/1.1\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
PREDICT = b"POST /v1/predict HTTP/1.1\r\n"
UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n"
CLOSE = b"Connection: close\r\n"
ROOT = b"GET / HTTP/1.1\r\n" + HEAD + b"\r\n"
ONE_ANSWER = b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@pytest.mark.case(
    "A8",
    "Content-Length with Transfer-Encoding, Transfer-Encoding in HTTP/1.0, unequal lengths, Host bad, missing or double"
    ", broken chunks, TLS",
    "400 as JSON, closed; what follows is never answered",
)
@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (POST + HEAD + b"Content-Length: 4\r\n" + CHUNKED + b"\r\n0\r\n\r\n" + LIVE, 400),
        (POST + HEAD + CHUNKED + b"Content-Length: 4\r\n\r\n0\r\n\r\n" + LIVE, 400),
        (POST.replace(b"1.1", b"1.0") + HEAD + CHUNKED + b"\r\n1\r\na\r\n0\r\n\r\n", 400),
        (POST + HEAD + CHUNKED + CHUNKED + b"\r\n0\r\n\r\n", 400),
        (POST + HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400),
        (POST + HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400),
        (POST + HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
        (POST + HEAD + b"Content-Length: -1\r\n\r\n", 400),
        (POST + HEAD + b"Content-Length: +5\r\n\r\n", 400),
        (POST + HEAD + b"Content-Length: 0x5\r\n\r\n", 400),
        (POST + HEAD + b"Content-Length: " + b"9" * 25 + b"\r\n\r\n", 400),
        (POST + HEAD + CHUNKED + b"\r\n-1\r\na\r\n", 400),
        (POST + HEAD + CHUNKED + b"\r\n1\r\nab\r\n", 400),
        (LIVE.replace(HEAD, HEAD + HEAD), 400),
        (LIVE.replace(HEAD, b""), 400),
        (LIVE.replace(HEAD, b"Host: a b<>\r\n"), 400),
        (LIVE.replace(HEAD, b"Host : x\r\n"), 400),
        (LIVE.replace(HEAD, HEAD + b"A: \x00\r\n"), 400),
        (LIVE.replace(b"1.1", b"3.7"), 400),
        (b"\x00\x01\x02\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"GET \xff\xfe HTTP/1.1\r\n" + HEAD + b"\r\n", 400),
    ],
)
def test_a_malformed_or_ambiguous_request_is_one_json_error_and_the_last(
    server: Running, request_: bytes, status: int
) -> None:
    assert refusal(server.port, request_)[0] == status


@pytest.mark.case("A8", "HTTP/1.0, HEAD, `OPTIONS *`, Upgrade", "served or refused as any other request")
def test_what_is_served_stays_served(server: Running) -> None:
    assert ask(server.port, b"GET /v2/health/live HTTP/1.0\r\n\r\n") == [200]
    assert ask(server.port, LIVE, LIVE, ONE_ANSWER) == [200, 200, 200]
    assert ask(server.port, b"HEAD /v2/health/live HTTP/1.1\r\n", HEAD, CLOSE, b"\r\n") == [200]
    assert ask(server.port, b"OPTIONS * HTTP/1.1\r\n", HEAD, CLOSE, b"\r\n") == [404]
    assert ask(server.port, b"GET /v2/health/live HTTP/1.1\r\n", HEAD, UPGRADE, b"\r\n", ONE_ANSWER) == [200, 200]


def framed(body: bytes) -> dict[str, bytes]:
    """Return what may follow the other headers of a request with a body."""
    half = len(body) // 2
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:half], body[half:], b""))
    return {"length": b"Content-Length: %d\r\n\r\n" % len(body) + body, "chunks": CHUNKED + b"\r\n" + chunks}


@pytest.mark.case("A8", "a body behind `Upgrade: h2c`, as Java's HttpClient and curl send it", "read as any other")
@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_a_request_that_would_upgrade_keeps_its_body(server: Running, png: bytes, framing: str) -> None:
    request = PREDICT + HEAD + UPGRADE + framed(png)[framing]
    for cut in (9, request.index(b"\r\n\r\n") + 2, request.index(b"\r\n\r\n") + 4, len(request) - 9):
        with Wire(server.port) as wire:
            wire.send(request[:cut])
            assert server.client.get("/v2/health/live").status_code == 200  # by then the server has read the first part
            assert wire.send(request[cut:]).read_answer()[0] == 200
            assert wire.send(LIVE).read_answer() == (200, {"live": True})
    assert ask(server.port, request, request, LIVE, request, ONE_ANSWER) == [200, 200, 200, 200, 200]
    large = PREDICT + HEAD + framed(png * 500)[framing]
    assert ask(server.port, large, request, large, request, ONE_ANSWER)[1::2] == [200, 200]


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_what_a_request_that_would_upgrade_holds_is_no_request(server: Running, framing: str) -> None:
    """A proxy that ignores Upgrade and this server end the request at the same byte."""
    assert ask(server.port, POST, HEAD, UPGRADE, framed(LIVE)[framing], ONE_ANSWER) == [400, 200]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (b"Content-Length: 4\r\n" + CHUNKED, 400),
        (CHUNKED + CHUNKED, 400),
        (b"Content-Length: 1\r\nContent-Length: 2\r\n", 400),
        (HEAD, 400),
        (b"A: " + b"x" * 40_000 + b"\r\n", 431),
    ],
)
def test_an_upgrade_makes_no_ambiguous_head_good(server: Running, headers: bytes, status: int) -> None:
    assert refusal(server.port, POST, HEAD, UPGRADE, headers, b"\r\n0\r\n\r\n", LIVE)[0] == status


def test_what_follows_a_tunnel_is_no_request(server: Running) -> None:
    assert ask(server.port, b"CONNECT x:1 HTTP/1.1\r\n", HEAD, b"\r\n", LIVE) == [400]
    assert ask(server.port, b"CONNECT /v2/health/live HTTP/1.1\r\n", HEAD, b"\r\n", LIVE) == [405]


@pytest.mark.case("A8", "`Expect: 100-continue` in HTTP/1.0", "no 1xx, which HTTP/1.0 does not have")
@pytest.mark.parametrize(("version", "told"), [(b"1.0", []), (b"1.1", [100])])
def test_only_who_knows_1xx_is_told_to_continue(server: Running, png: bytes, version: bytes, told: list[int]) -> None:
    head = PREDICT.replace(b"1.1", version) + HEAD + CLOSE + b"Expect: 100-continue\r\n"
    with Wire(server.port) as wire:
        answers = wire.send(head, framed(png)["length"]).read_all()
    assert statuses(answers) == [*told, 200]


@pytest.mark.case("A8", "requests sent ahead of their answers", "answered in order")
def test_many_requests_sent_ahead_are_answered_in_their_order(server: Running) -> None:
    """More than are taken apart at a time, each with an answer of its own."""
    count = 3 * MAX_AHEAD + 1
    paths = [b"/v2/models/m%d" % place for place in range(count)]
    heads = [b"GET " + path + b" HTTP/1.1\r\n" + HEAD + b"\r\n" for path in paths]
    with Wire(server.port) as wire:
        answers = wire.send(*heads, ONE_ANSWER).read_all()
    assert statuses(answers) == [404] * count + [200]
    places = [answers.index(b"'m%d'" % place) for place in range(count)]
    assert places == sorted(places)


@pytest.mark.case("A8", "a malformed request behind a good one", "the good one answered, then 400")
def test_a_malformed_request_behind_a_good_one_lets_that_be_answered_first(server: Running) -> None:
    assert ask(server.port, LIVE, LIVE, b"\x00\x01\r\n\r\n") == [200, 200, 400]


@pytest.mark.case("A6", "heads of megabytes, in one header, many, or the target", "431")
@pytest.mark.parametrize("size", [40_000, 3_000_000])
def test_a_large_head_is_refused(server: Running, size: int) -> None:
    many = b"".join(b"h%d: %s\r\n" % (place, b"y" * 100) for place in range(size // 108))
    for headers in (b"A: " + b"x" * size, many):
        assert refusal(server.port, LIVE[:-2], headers, b"\r\n\r\n") == (
            431,
            "the request's head is larger than 32,768 bytes, the most this server takes",
        )
    assert refusal(server.port, b"GET /", b"x" * size, b" HTTP/1.1\r\n\r\n")[0] == 431
    assert refusal(server.port, b"\r\n" * size)[0] == 431


@pytest.mark.case("A6", "a header that never ends", "431, no memory")
def test_an_endless_head_takes_no_memory(server: Running) -> None:
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    with Wire(server.port) as wire:
        wire.send(LIVE[:-2], b"A: ")
        for _ in range(50):
            try:
                wire.send(b"x" * 1_000_000)
            except ConnectionError:
                break
        else:
            raise AssertionError("50 MB of one header were taken")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak - before < 8_000_000


@pytest.mark.case("A7", "more chunks than `--max-chunks`", "400")
def test_chunks_are_counted(launch: Launcher) -> None:
    running = launch(settings=Settings(max_chunks=1000))
    head = POST + HEAD + CHUNKED + b"\r\n"
    status, error = refusal(running.port, head, b"1\r\nx\r\n" * 1001)
    assert (status, error) == (400, "the body has more than 1,000 chunks; send larger ones")
    assert ask(running.port, head.replace(HEAD, HEAD + CLOSE), b"1\r\nx\r\n" * 1000, b"0\r\n\r\n") == [400]
    assert running.client.get("/v2/health/live").status_code == 200


@pytest.mark.case("A7", "60,000 chunks in one piece", "health answers in between")
def test_others_are_served_between_the_chunks_of_one(server: Running) -> None:
    """So many chunks come in one piece that parsing them at once would take longer than a health check may."""
    with Wire(server.port) as flood, Wire(server.port) as other:
        assert other.send(LIVE).read_answer()[0] == 200
        flood.send(POST, HEAD, CHUNKED, b"\r\n", b"1\r\nx\r\n" * 60_000)
        assert other.send(LIVE).read_answer() == (200, {"live": True})
        flood.send(b"0\r\n\r\n")
        assert flood.read_answer()[0] == 400


@pytest.mark.case("A7", "huge chunk extensions and trailers", "400")
@pytest.mark.parametrize(
    "body", [b"1;" + b"e" * 600_000 + b"\r\nx\r\n0\r\n\r\n", b"0\r\n" + b"t: " + b"y" * 600_000 + b"\r\n\r\n"]
)
def test_what_surrounds_chunks_is_bounded(server: Running, body: bytes) -> None:
    status, error = refusal(server.port, POST, HEAD, CHUNKED, b"\r\n", body)
    assert (status, "around its chunks" in error) == (400, True)


@pytest.mark.case("A8", "an upload that goes on after the final answer", "cut off")
@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"POST /nothing HTTP/1.1\r\n", 404),
        (b"POST /v2/health/live HTTP/1.1\r\n", 405),
        (b"GET /v2/health/live HTTP/1.1\r\n", 200),
        (POST, 413),
    ],
)
def test_an_upload_is_cut_off_once_it_was_answered(
    launch: Launcher, head: bytes, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "LINGER_S", 0.05)
    running = launch(settings=Settings(keep_alive=0.2))
    with Wire(running.port) as wire:
        wire.send(head, HEAD, b"Content-Length: 100000000000\r\n\r\n")
        answer = wire.socket.recv(65_536)
        assert statuses(answer) == [status]
        assert b"connection: close" in answer.lower()
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
        assert send_until_closed(wire.socket, 1_000_000_000) < 50_000_000


def send_until_closed(connection: socket.socket, size: int) -> int:
    """Return how many bytes of `size` could be sent before the server ended the connection."""
    sent = 0
    try:
        while sent < size:
            sent += connection.send(b"z" * 65_536)
    except ConnectionError:
        return sent
    return size


def test_a_connection_lives_on_when_the_whole_request_was_read(server: Running) -> None:
    with Wire(server.port) as wire:
        for _ in range(3):
            wire.send(b"POST /nothing HTTP/1.1\r\n", HEAD, b"Content-Length: 3\r\n\r\nabc")
            assert wire.read_answer() == (404, {"error": "Not Found"})


def test_a_short_request_behind_a_large_one_is_no_large_head(server: Running) -> None:
    large = 2 * Settings().max_header_bytes
    with Wire(server.port) as wire:
        for _ in range(2):
            wire.send(b"POST /nothing HTTP/1.1\r\n", HEAD, b"Content-Length: %d\r\n\r\n" % large, b"a" * large)
            assert wire.read_answer()[0] == 404
            for _ in range(2):
                assert wire.send(LIVE).read_answer() == (200, {"live": True})


SLOW = Settings(header_timeout=0.05, body_grace=0.05, keep_alive=0.05)


@pytest.mark.case("A6", "heads and bodies that stop midway", "408, closed")
@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (b"GET / HTTP/1.1\r\nHo", "the request's head did not come in time; send it in one go"),
        (LIVE + b"G", "the request's head did not come in time; send it in one go"),
        (
            POST + HEAD + b"Content-Length: 100000\r\n\r\nab",
            "the request's body came too slowly; send it again over a faster connection",
        ),
        (
            POST + HEAD + CHUNKED + b"\r\n2\r\nab\r\n",
            "the request's body came too slowly; send it again over a faster connection",
        ),
    ],
)
def test_who_stops_in_a_request_is_told_and_let_go_of(launch: Launcher, sent: bytes, error: str) -> None:
    running = launch(settings=SLOW)
    with Wire(running.port) as wire:
        answer = wire.send(sent).read_all()
    assert statuses(answer)[-1] == 408
    assert json.loads(answer.rpartition(b"\r\n\r\n")[2]) == {"error": error}


@pytest.mark.case("A6", "a head or a body that comes byte by byte", "408 at its limit, closed")
@pytest.mark.parametrize(
    ("begin", "piece"),
    [
        (b"GET / HTTP/1.1\r\nA: ", b"x"),
        (POST + HEAD + b"Content-Length: 100000\r\n\r\n", b"x"),
        (POST + HEAD + CHUNKED + b"\r\n", b"1\r\nx\r\n"),
    ],
)
def test_who_sends_byte_by_byte_is_let_go_of(launch: Launcher, begin: bytes, piece: bytes) -> None:
    running = launch(settings=SLOW)
    with Wire(running.port) as wire:
        wire.send(begin)
        while not select.select([wire.socket], [], [], 0.002)[0]:
            wire.send(piece)
        assert statuses(wire.read_all()) == [408]


@pytest.mark.case("A6", "silent and idle connections", "closed")
@pytest.mark.parametrize("sent", [b"", LIVE, b"\r\n"])
def test_who_asks_nothing_is_let_go_of(launch: Launcher, sent: bytes) -> None:
    running = launch(settings=SLOW)
    with Wire(running.port) as wire:
        assert statuses(wire.send(sent).read_all()) == ([200] if sent == LIVE else [])


@pytest.mark.case("A6", "an engine slower than every limit of the wire", "its clients are answered")
def test_a_slow_engine_is_no_slow_client(launch: Launcher, png: bytes) -> None:
    """Nothing but the client's own part of the work is timed on the wire."""
    running = launch(settings=SLOW)
    running.engine.gate.clear()
    with Wire(running.port) as wire:
        wire.send(PREDICT, HEAD, b"Content-Length: %d\r\n\r\n" % len(png), png)
        running.engine.wait_entered()
        with Wire(running.port) as late:
            late.read_all()  # much later than any limit
        running.engine.gate.set()
        assert wire.read_answer()[0] == 200


@pytest.mark.case("A6", "a client that never reads its answer", "closed")
def test_a_client_that_does_not_take_its_answer_is_let_go_of(launch: Launcher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(describe, "server_metadata", lambda: {"large": "x" * 20_000_000})
    running = launch(settings=Settings(answer_timeout=0.05))
    with Wire(running.port) as wire:
        wire.send(b"GET /v2 HTTP/1.1\r\n", HEAD, b"\r\n")
        assert wire.socket.recv(100).startswith(b"HTTP/1.1 200")
        poll = select.poll()
        poll.register(wire.socket, 0)  # errors are told all the same
        assert poll.poll(WAIT_S * 1000)
        assert wire.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNRESET


async def answer(request: Request) -> Response:
    return Response("answer")


def read_answer(client: socket.socket) -> None:
    """Take the answer of `answer`, which may come in pieces."""
    found = b""
    while not found.endswith(b"answer"):
        data = client.recv(65_536)
        assert data, "closed without an answer"
        found += data


@asynccontextmanager
async def connected(settings: Settings) -> AsyncIterator[tuple[socket.socket, Connection, Watch]]:
    """Give a client's socket, its other end on the loop of this very test, and the watch over that."""
    config = uvicorn_config(Starlette(routes=[Route("/", answer)]), settings, lifespan="off")
    config.load()
    loop, watch = asyncio.get_running_loop(), Watch(settings)
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.settimeout(WAIT_S)
        make = partial(Connection, config, ServerState(), {}, loop, watch)
        _, connection = await loop.connect_accepted_socket(make, ours)
        theirs.sendall(ROOT)
        await asyncio.to_thread(read_answer, theirs)
        yield theirs, connection, watch
        watch.abort_all()
        await asyncio.sleep(0)


def ends_of_idleness(watch: Watch, connection: Connection) -> list[Callable[[], object]]:
    """Return every way in which a server ends a connection that waits for a request."""
    return [
        lambda: watch.end_overdue(monotonic() + 1000),
        watch.make_room,
        connection.shutdown,
        connection.timeout_keep_alive_handler,
    ]


@pytest.mark.case("A6", "a request that comes in the moment in which its idle connection is to be closed", "answered")
@pytest.mark.parametrize("end", range(4))
def test_a_request_that_has_come_is_answered_though_its_connection_was_to_be_closed(end: int) -> None:
    """Between the client's sending and the server's closing the event loop has no turn in which to read."""

    async def play() -> None:
        async with connected(Settings()) as (client, connection, watch):
            client.sendall(ROOT)
            ends_of_idleness(watch, connection)[end]()
            await asyncio.to_thread(read_answer, client)

    asyncio.run(play())


@pytest.mark.parametrize("end", range(3))  # the last one is uvicorn's own timer, which ends none any more
def test_a_connection_on_which_nothing_has_come_is_closed(end: int) -> None:
    async def play() -> None:
        async with connected(Settings()) as (client, connection, watch):
            ends_of_idleness(watch, connection)[end]()
            assert await asyncio.to_thread(client.recv, 1) == b""

    asyncio.run(play())


@pytest.mark.case("A6", "a request whose head or body makes room for another client", "its place is free")
@pytest.mark.parametrize("part", [ROOT[:20], POST + HEAD + b"Content-Length: 9\r\n\r\nab"])
def test_a_connection_that_was_closed_in_a_request_is_not_counted_any_more(part: bytes) -> None:
    async def play() -> None:
        async with connected(Settings()) as (client, _, watch):
            client.sendall(part)
            while watch.count(Phase.IDLE):
                await asyncio.sleep(0)
            assert watch.make_room()
            assert await asyncio.to_thread(client.recv, 1) == b""
            assert len(watch) == 0

    asyncio.run(play())


@pytest.mark.case("A6", "hardly any connection left", "answers say `Connection: close`, none is cut off")
def test_answers_say_that_connections_are_scarce(launch: Launcher) -> None:
    running = launch(settings=Settings(max_connections=2))
    running.client.close()
    with Wire(running.port) as first:
        assert first.send(LIVE).read_answer()[0] == 200
        with Wire(running.port) as second:
            last = second.send(LIVE).read_all()
            assert b"connection: close" in last.lower()
        assert first.send(LIVE).read_answer()[0] == 200


def test_no_request_sent_ahead_is_lost_where_connections_are_scarce(launch: Launcher) -> None:
    running = launch(settings=Settings(max_connections=1))
    running.client.close()
    with Wire(running.port) as wire:
        answers = wire.send(LIVE * (MAX_AHEAD + 3)).read_all()
    assert statuses(answers) == [200] * (MAX_AHEAD + 3)
    assert answers.lower().count(b"connection: close") == 1


def test_a_body_that_breaks_off_is_a_client_that_left(launch: Launcher) -> None:
    """The handler that was reading the body ends; the error is written once."""
    running = launch(FakeEngine())
    status, _ = refusal(running.port, POST, HEAD, CHUNKED, b"\r\n2\r\nab\r\nXX\r\n")
    assert status == 400
    assert running.client.get("/v2/health/live").status_code == 200
    assert Phase.BODY.value == "body"
