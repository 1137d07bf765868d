from __future__ import annotations

from typing import Any

import pytest

from adaptertune_deploy.serve.grpc.messages import message
from adaptertune_deploy.serve.grpc.methods import SERVICE
from tests.serve.fakes import WAIT_S
from tests.serve.grpc.conftest import Called, Launcher, image_request

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
GIVEN = (("x-request-id", "mine-1"), ("traceparent", TRACEPARENT), ("other-bin", b"\xff"))


def named(called: Called, method: str, data: bytes, given: Any = GIVEN) -> dict[str, str]:
    """Make a call and return its trailing metadata, whatever came of it."""
    stub = called.channel.unary_unary(f"/{SERVICE}/{method}", None, message(f"{method}Response").FromString)
    future = stub.future(data, timeout=WAIT_S, metadata=given)
    future.exception()
    return {key: str(value) for key, value in future.trailing_metadata()}


@pytest.mark.parametrize("model", ["pets", "none"])
def test_what_comes_back_says_whose_it_is_also_where_it_is_an_error(server: Called, png: bytes, model: str) -> None:
    request = message("ModelMetadataRequest")(name=model).SerializeToString()
    found = named(server, "ModelMetadata", request)
    assert (found["x-request-id"], found["traceparent"]) == ("mine-1", TRACEPARENT)
    unnamed = [named(server, "ModelMetadata", request, ())["x-request-id"] for _ in range(2)]
    assert len(set(unnamed)) == 2


def test_a_batch_that_fails_names_its_calls(launch: Launcher, png: bytes, caplog: pytest.LogCaptureFixture) -> None:
    called = launch()
    called.engine.error = RuntimeError("no such device")
    named(called, "ModelInfer", image_request(png))
    failed = [record.__dict__["facts"]["request_ids"] for record in caplog.records if "facts" in record.__dict__]
    assert failed == [["mine-1"]]
