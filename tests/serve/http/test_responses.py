from __future__ import annotations

import asyncio
import json

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from adaptertune_deploy.core.errors import EngineError, ImageError, RequestError
from adaptertune_deploy.serve.http.responses import HANDLERS, encode, error_answer, json_answer

REQUEST = Request({"type": "http", "method": "GET", "headers": []})


def test_json_is_compact_ascii_even_for_broken_unicode() -> None:
    assert encode({"a": "\ud800é"}) == b'{"a":"\\ud800\\u00e9"}'
    assert json_answer([1], 201).status_code == 201


def test_nan_is_never_written() -> None:
    with pytest.raises(ValueError, match="Out of range"):
        encode(float("nan"))


def test_only_answers_that_may_change_ask_to_retry() -> None:
    assert error_answer("x", 503).headers["retry-after"] == "1"
    assert "retry-after" not in error_answer("x", 400).headers


@pytest.mark.case(
    "C11", "every kind of error", "one JSON line that tells nothing of the inside; each client of these tests checks it"
)
@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (RequestError("no", 413), 413, "no"),
        (ImageError("bad image"), 400, "bad image"),
        (EngineError("failed"), 500, "failed"),
        (HTTPException(405, headers={"Allow": "POST"}), 405, "Method Not Allowed"),
        (RuntimeError("<object at 0x7f0011223344> in /opt/secret"), 500, "internal error"),
    ],
)
def test_every_error_becomes_one_json_line(error: Exception, status: int, text: str) -> None:
    handler = next(HANDLERS[kind] for kind in type(error).__mro__ if kind in HANDLERS)
    response = asyncio.run(handler(REQUEST, error))
    assert response.status_code == status
    assert json.loads(response.body) == {"error": text}
    if status == 405:
        assert response.headers["allow"] == "POST"


def test_a_client_that_is_gone_gets_an_empty_answer() -> None:
    response = asyncio.run(HANDLERS[ClientDisconnect](REQUEST, ClientDisconnect()))
    assert (response.status_code, response.body) == (499, b"")
