"""What clients of gRPC's port may send and withhold, tried with frames on real sockets."""

from __future__ import annotations

import dataclasses
import logging
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import grpc
import numpy as np
import pytest

from adaptertune_deploy.core.images import preprocess
from adaptertune_deploy.serve.grpc.methods import HEALTH, METHODS, SERVICE, admin_calls
from adaptertune_deploy.serve.grpc.repository import ANSWERS
from adaptertune_deploy.serve.settings import Settings
from benchmarks.clients import http2
from benchmarks.clients.http2 import ACK, CONTINUATION, GOAWAY, PING, RESET, SETTINGS, WINDOW, Connection, call, frame
from tests.builders import make_preprocess_spec
from tests.serve.fakes import make_adapters, reference
from tests.serve.grpc.conftest import Called, Launcher, image_request, until

CODE = grpc.StatusCode
INFER, STREAM, LIVE = (f"/{SERVICE}/{name}" for name in ("ModelInfer", "ModelStreamInfer", "ServerLive"))


def port_of(called: Called) -> int:
    return int(called.target.rsplit(":", 1)[1])


def check_well(called: Called, png: bytes) -> None:
    """Assert that the server answers over both wires, and rightly."""
    assert called.http.get("/v2/health/live").status_code == 200
    with grpc.insecure_channel(called.target, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        answer = dataclasses.replace(called, channel=channel).call("ModelInfer", image_request(png))
    logits = np.frombuffer(answer.raw_output_contents[0], "<f4")
    expected = reference(preprocess.preprocess(png, make_preprocess_spec()), make_adapters()[0])
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
    assert called.service.bytes.used == called.service.batcher.admitted == 0


def codes(called: Called, method: str) -> dict[str, int]:
    """Return how calls of a method ended, as the metrics say."""
    lines = called.service.metrics.render().decode().splitlines()
    start = "atd_grpc_responses_total{code="
    found = [line.removeprefix(start) for line in lines if line.startswith(start) and f'method="{method}"' in line]
    return {line.split('"')[1]: int(float(line.rsplit(" ", 1)[1])) for line in found}


@contextmanager
def silent_calls(called: Called, count: int, path: str = INFER) -> Iterator[list[Connection]]:
    """Begin calls, each on a connection of its own, whose messages never come."""
    with ExitStack() as stack:
        connections = [stack.enter_context(Connection(port_of(called))) for _ in range(count)]
        for connection in connections:
            connection.send(call(1, path, None))
        yield connections


@pytest.mark.case(
    "A6",
    "gRPC: calls and streams whose messages never come, on every place that there is",
    "let go of where others wait; those are answered",
)
@pytest.mark.parametrize("path", [INFER, STREAM, LIVE])
def test_who_sends_no_message_makes_room_for_others(launch: Launcher, png: bytes, path: str) -> None:
    called = launch(Settings(body_limit=50_000, bytes_limit=50_000, body_grace=0.05))
    method = path.rsplit("/", 1)[1]
    with silent_calls(called, 3, path):
        for _ in range(2):
            check_well(called, png)
            assert called.call("ServerLive").live
        if path == STREAM:
            stub = called.channel.stream_stream(STREAM)
            until(lambda: _answers(stub, image_request(png)))
    until(lambda: sum(codes(called, method).values()) >= 3)
    assert codes(called, method).keys() <= {"OK", "DEADLINE_EXCEEDED", "CANCELLED", "UNAVAILABLE"}


def _answers(stub: Any, data: bytes) -> bool:
    try:
        return len(list(stub(iter([data]), timeout=20))) == 1
    except grpc.RpcError as error:
        assert error.code() is CODE.UNAVAILABLE  # noqa: PT017  whoever has the place is not late yet
        return False


@pytest.mark.case("A6", "gRPC: a call whose message does not come, where nobody waits", "its deadline ends it")
def test_a_call_without_a_message_ends_at_its_deadline(launch: Launcher, png: bytes) -> None:
    called = launch(Settings(request_timeout=0.1))
    with silent_calls(called, 1):
        until(lambda: codes(called, "ModelInfer") == {"DEADLINE_EXCEEDED": 1})
    check_well(called, png)


@pytest.mark.case("A6", "gRPC: more calls than `--max-connections`", "UNAVAILABLE, the others go on")
def test_calls_are_so_many_at_a_time(launch: Launcher, png: bytes) -> None:
    called = launch(Settings(max_connections=8))
    with ExitStack() as stack:
        for _ in range(4):
            connection = stack.enter_context(Connection(port_of(called)))
            connection.send(call(1, INFER, None), call(3, INFER, None))
        until(lambda: called.open_calls == 8)
        assert called.failure("ServerLive")[0] is CODE.UNAVAILABLE
    until(lambda: called.open_calls == 0)
    check_well(called, png)


@pytest.mark.case(
    "A6",
    "gRPC: silent connections, up to the limit and beyond it",
    "refused, closed at `--header-timeout`; HTTP answers",
)
def test_connections_are_so_many_and_silent_ones_are_closed(launch: Launcher, png: bytes) -> None:
    called = launch(Settings(max_connections=4, header_timeout=0.5))
    with ExitStack() as stack:
        connections = [stack.enter_context(Connection(port_of(called), greet=False)) for _ in range(12)]
        assert called.http.get("/v2/health/live").status_code == 200
        assert all(connection.closed() for connection in connections)
    check_well(called, png)


BAD = {
    "noise": b"\x00\xff" * 5000,
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(300),
    "HTTP/1.1": b"POST /v2/health/live HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
    "a frame larger than was agreed": http2.PREFACE + frame(SETTINGS) + frame(0, 0, 1, bytes(17))[:3] + b"\xff" * 900,
    "a head that is none": http2.PREFACE + frame(SETTINGS) + frame(1, 4, 1, b"\xff" * 50),
    "data of no stream": http2.PREFACE + frame(SETTINGS) + frame(0, 1, 7, b"x" * 10),
    "a continuation of nothing": http2.PREFACE + frame(SETTINGS) + frame(CONTINUATION, 4, 1, b"x"),
    "settings of a wrong size": http2.PREFACE + frame(SETTINGS, 0, 0, b"x"),
    "a window of nothing": http2.PREFACE + frame(SETTINGS) + frame(WINDOW, 0, 0, bytes(4)),
    "half a frame": http2.PREFACE + frame(SETTINGS) + b"\x00\x40\x00\x00",
}


@pytest.mark.case("A8", "gRPC: noise, TLS, HTTP/1.1 and broken frames on its port", "closed; both wires go on")
@pytest.mark.parametrize("data", BAD.values(), ids=BAD)
def test_broken_frames_harm_nobody(server: Called, png: bytes, data: bytes) -> None:
    with Connection(port_of(server), greet=False) as connection:
        connection.send(data)
        check_well(server, png)


def _resets(first: int) -> bytes:
    return call(first, INFER, None) + frame(RESET, 0, first, (8).to_bytes(4, "big"))


FLOODS = {
    "calls that are reset at once": [_resets(stream) for stream in range(1, 8000, 2)],
    "calls of a method that there is not": [call(stream, "/a/b", b"x") for stream in range(1, 8000, 2)],
    "no message of the protocol": [call(stream, INFER, b"\xff" * 40) for stream in range(1, 8000, 2)],
    "pings": [frame(PING, 0, 0, b"12345678")] * 20_000,
    "settings": [frame(SETTINGS)] * 20_000,
    "settings that nobody sent": [frame(SETTINGS, ACK)] * 20_000,
    "windows": [frame(WINDOW, 0, 0, (1).to_bytes(4, "big"))] * 20_000,
    "farewells": [frame(GOAWAY, 0, 0, bytes(8))] * 20_000,
    "empty data": [call(1, INFER, None), *[frame(0, 0, 1)] * 20_000],
}


@pytest.mark.case(
    "A6",
    "gRPC: floods of calls that are reset at once, unknown calls, bad messages, pings, settings, windows, empty data",
    "health answers meanwhile, valid calls after",
)
@pytest.mark.parametrize("frames", FLOODS.values(), ids=FLOODS)
def test_a_flood_of_frames_holds_nobody_up(server: Called, png: bytes, frames: list[bytes]) -> None:
    step = max(1, len(frames) // 5)
    with Connection(port_of(server)) as connection:
        connection.socket.settimeout(0.2)  # who is throttled waits no longer than that
        for start in range(0, len(frames), step):
            connection.send(*frames[start : start + step])
            assert server.http.get("/v2/health/live").status_code == 200
    check_well(server, png)


@pytest.mark.case("A3", "gRPC: a connection breaks while its request waits", "out of the queue, counted")
def test_a_client_that_is_gone_leaves_the_queue(launch: Launcher, png: bytes) -> None:
    called = launch()
    called.engine.gate.clear()
    held = called.future("ModelInfer", image_request(png, model="digits"))
    called.engine.wait_entered()
    with Connection(port_of(called)) as connection:
        connection.send(call(1, INFER, image_request(png)))
        until(lambda: called.service.batcher.admitted == 2)
    until(lambda: called.service.batcher.admitted == 1)
    called.engine.gate.set()
    held.result()
    assert len(called.engine.calls) == 1
    assert called.service.statistics.tasks["pets", 1].failures["CANCELED"] == 1


@pytest.mark.case("A8", "gRPC: a client half-closes its connection after its request", "taken for gone, as over HTTP")
def test_who_half_closes_is_taken_for_gone(launch: Launcher, png: bytes) -> None:
    called = launch()
    called.engine.gate.clear()
    with Connection(port_of(called)) as connection:
        connection.send(frame(SETTINGS, ACK), call(1, INFER, image_request(png)))
        called.engine.wait_entered()
        connection.socket.shutdown(socket.SHUT_WR)
        kinds = set()
        while (found := connection.read()) is not None:
            kinds.add(found[0])
    assert http2.DATA not in kinds
    called.engine.gate.set()
    until(lambda: codes(called, "ModelInfer") == {"CANCELLED": 1})


@pytest.mark.case("A4", "gRPC: a client sends nothing more after its request", "answered")
def test_who_only_sends_no_more_is_answered(server: Called, png: bytes) -> None:
    with Connection(port_of(server)) as connection:
        connection.send(frame(SETTINGS, ACK), call(1, INFER, image_request(png)))
        found = [connection.read()]
        while found[-1] is not None and not (found[-1][0] == http2.HEADERS and found[-1][1] & http2.END_STREAM):
            found.append(connection.read())
    assert [entry[0] for entry in found if entry is not None and entry[2] == 1] == [1, 0, 1]


@pytest.mark.case("C13", "gRPC: no message, and bytes that are none, to every method", "INVALID_ARGUMENT")
def test_what_is_no_message_is_refused_by_every_method(server: Called) -> None:
    for name in (*METHODS, "ModelInfer"):
        code, text = server.failure(name, b"\xff")
        assert (code, text) == (
            CODE.INVALID_ARGUMENT,
            f"the message is no {name}Request of the Open Inference Protocol",
        )
    stub = server.channel.stream_unary(LIVE)
    with pytest.raises(grpc.RpcError) as caught:
        stub(iter([]))
    assert (caught.value.code(), caught.value.details()) == (CODE.INVALID_ARGUMENT, "the call has no message; send one")


@pytest.mark.case("C9", "gRPC: load, unload and index on the public port", "PERMISSION_DENIED")
@pytest.mark.parametrize("name", ANSWERS)
def test_tasks_are_not_changed_on_the_public_port(server: Called, name: str) -> None:
    code, text = server.failure(name)
    assert code is CODE.PERMISSION_DENIED
    assert text.startswith("tasks are loaded and unloaded on the admin listener only")


@pytest.mark.case("C9", "gRPC: every method of the admin listener without the token", "UNAUTHENTICATED")
def test_the_admin_listener_asks_for_its_token_before_anything_else(admin: Called) -> None:
    paths = admin_calls(admin.service, None)._methods
    assert {f"/{SERVICE}/{name}" for name in ANSWERS} < paths.keys()
    token = (("authorization", "Bearer a token"),)
    wrong = [(), (("authorization", "Bearer a toke"),), token * 2, (("authorization", "a token"),)]
    for path in [*paths, f"/{SERVICE}/ModelInfer", "/a/b"]:
        stub = admin.channel.unary_unary(path)
        for metadata in wrong:
            with pytest.raises(grpc.RpcError) as caught:
                stub(b"\xff", metadata=metadata)
            assert (caught.value.code(), caught.value.details()) == (
                CODE.UNAUTHENTICATED,
                "send the server's token as 'Authorization: Bearer TOKEN'",
            )
    with pytest.raises(grpc.RpcError) as caught:
        admin.channel.unary_unary(f"/{SERVICE}/ModelInfer")(b"", metadata=token)
    assert caught.value.code() is CODE.UNIMPLEMENTED
    assert admin.channel.unary_unary(f"/{HEALTH}/Check")(b"", metadata=token) == b"\x08\x01"


def test_what_should_never_happen_is_logged_and_tells_nothing(
    launch: Launcher, png: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    called = launch()
    monkeypatch.setattr("adaptertune_deploy.serve.protocol.lookup.find", lambda *_: 1 / 0)
    with caplog.at_level(logging.CRITICAL, "adaptertune_deploy.serve"):
        assert called.failure("ModelInfer", image_request(png)) == (CODE.INTERNAL, "internal error")
    assert codes(called, "ModelInfer") == {"INTERNAL": 1}
