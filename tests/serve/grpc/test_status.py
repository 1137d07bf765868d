from __future__ import annotations

import logging

import grpc
import pytest

from adaptertune_deploy.core.errors import EngineError, ImageError, RequestError
from adaptertune_deploy.serve.grpc.status import log_if_internal, status_of


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (RequestError("x"), grpc.StatusCode.INVALID_ARGUMENT, "x"),
        (RequestError("x", 403), grpc.StatusCode.PERMISSION_DENIED, "x"),
        (RequestError("x", 404), grpc.StatusCode.NOT_FOUND, "x"),
        (ImageError("x", 413), grpc.StatusCode.INVALID_ARGUMENT, "x"),
        (ImageError("x", 415), grpc.StatusCode.INVALID_ARGUMENT, "x"),
        (RequestError("x", 503), grpc.StatusCode.UNAVAILABLE, "x"),
        (RequestError("x", 504), grpc.StatusCode.DEADLINE_EXCEEDED, "x"),
        (EngineError("x"), grpc.StatusCode.INTERNAL, "x"),
        (KeyError("/etc/passwd"), grpc.StatusCode.INTERNAL, "internal error"),
    ],
)
def test_an_error_has_a_code_and_tells_nothing_of_the_inside(
    error: Exception, code: grpc.StatusCode, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert status_of(error) == (code, text)
    with caplog.at_level(logging.ERROR):
        log_if_internal(error)
    assert bool(caplog.records) == (text == "internal error")
