from __future__ import annotations

import logging

import grpc
import pytest

from adaptertune_deploy.serve.grpc.messages import message
from adaptertune_deploy.serve.grpc.methods import SERVICE
from adaptertune_deploy.serve.logs.setup import ACCESS
from tests.serve.fakes import WAIT_S
from tests.serve.grpc.conftest import Launcher, image_request, until

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_every_call_is_counted_and_has_a_line(launch: Launcher, png: bytes, caplog: pytest.LogCaptureFixture) -> None:
    called = launch()
    with caplog.at_level(logging.INFO, ACCESS):
        called.call("ModelInfer", image_request(png))
        called.failure("ModelInfer", b"\xff")
        called.call("ServerLive")
        with pytest.raises(grpc.RpcError):
            called.channel.unary_unary("/a/b\n")(b"")
        stub = called.channel.stream_stream(f"/{SERVICE}/ModelStreamInfer")
        assert len(list(stub(iter([image_request(png)] * 2), timeout=WAIT_S))) == 2
        until(lambda: len(caplog.records) == 4)
    facts = [record.__dict__["facts"] for record in caplog.records]
    found = [(entry["route"].rpartition("/")[2], entry["grpc_status"], entry["bytes"] > 0) for entry in facts]
    assert found == [
        ("ModelInfer", "OK", True),
        ("ModelInfer", "INVALID_ARGUMENT", False),
        ("unknown", "UNIMPLEMENTED", False),
        ("ModelStreamInfer", "OK", True),
    ]
    assert facts[0].items() >= {"client": "127.0.0.1", "method": "gRPC", "path": f"/{SERVICE}/ModelInfer"}.items()
    assert caplog.records[0].getMessage().startswith(f"127.0.0.1 gRPC /{SERVICE}/ModelInfer OK ")
    metrics = called.http.get("/metrics").text
    for line in (
        'code="OK",method="ModelInfer"', 'code="OK",method="ServerLive"', 'code="UNIMPLEMENTED",method="unknown"'
    ):  # fmt: skip
        assert f"atd_grpc_responses_total{{{line}}} 1.0" in metrics


def test_a_line_and_its_batch_name_the_call_and_its_trace(
    launch: Launcher, png: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    called = launch()
    given = (("x-request-id", "mine-1"), ("traceparent", TRACEPARENT))
    named: list[str] = []

    class Named(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            from adaptertune_deploy.serve.logs.context import current

            named.append(f"{current.get().request_id} {current.get().trace_id}")

    handler = Named()
    logging.getLogger(ACCESS).addHandler(handler)
    try:
        with caplog.at_level(logging.INFO, ACCESS):
            stub = called.channel.unary_unary(f"/{SERVICE}/ModelInfer", None, message("ModelInferResponse").FromString)
            _, call = stub.with_call(image_request(png), timeout=WAIT_S, metadata=given)
            until(lambda: bool(named))
    finally:
        logging.getLogger(ACCESS).removeHandler(handler)
    assert named == ["mine-1 4bf92f3577b34da6a3ce929d0e0e4736"]
    assert dict(call.trailing_metadata())["x-request-id"] == "mine-1"


def test_a_call_that_is_cancelled_says_so(launch: Launcher, png: bytes, caplog: pytest.LogCaptureFixture) -> None:
    called = launch()
    called.engine.gate.clear()
    with caplog.at_level(logging.INFO, ACCESS):
        gone = called.future("ModelInfer", image_request(png))
        called.engine.wait_entered()
        gone.cancel()
        until(lambda: bool(caplog.records))
    assert [record.__dict__["facts"]["grpc_status"] for record in caplog.records] == ["CANCELLED"]
    called.engine.gate.set()
