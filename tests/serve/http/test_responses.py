from __future__ import annotations

import asyncio
import json
from email.utils import parsedate_to_datetime

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from adaptertune_deploy.core.errors import EngineError, ImageError, RequestError
from adaptertune_deploy.serve.http.responses import HANDLERS, encode, error_answer, json_answer, raw_error

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


@pytest.mark.parametrize(("status", "retries"), [(400, False), (408, False), (503, True), (505, False)])
def test_what_the_connection_answers_is_a_whole_answer_with_its_date(status: int, retries: bool) -> None:
    head, _, body = raw_error("no", status).partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    assert first.startswith(f"HTTP/1.1 {status} ")
    assert json.loads(body) == {"error": "no"}
    assert parsedate_to_datetime(headers["Date"]).tzname() == "UTC"
    assert headers["Date"].endswith(" GMT")
    assert (headers["Content-Length"], headers["Connection"]) == (str(len(body)), "close")
    assert ("Retry-After" in headers) == retries
