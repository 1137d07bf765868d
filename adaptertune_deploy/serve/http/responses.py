"""JSON answers and JSON errors: every answer other than 200 is {"error": text}."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from email.utils import formatdate
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from adaptertune_deploy.core.errors import EngineError, RequestError

RETRY_AFTER_S = "1"
CLIENT_CLOSED_REQUEST = 499  # nginx' code; nobody is left to read it
logger = logging.getLogger(__name__)


def encode(value: object) -> bytes:
    """Return compact ASCII JSON; text that is no valid Unicode is escaped, NaN is refused with ValueError."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()


def json_answer(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a JSON response."""
    return Response(encode(value), status, headers, media_type="application/json")


def error_answer(message: str, status: int, headers: Mapping[str, str] | None = None) -> Response:
    """Return {"error": message}, with Retry-After when the server may do better later."""
    extra = {"Retry-After": RETRY_AFTER_S} if status == 503 else {}
    return json_answer({"error": message}, status, {**extra, **(headers or {})})


def raw_error(message: str, status: int) -> bytes:
    """Return a whole HTTP/1.1 answer {"error": message} that closes its connection, for what no handler sees."""
    body = encode({"error": message})
    head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: application/json\r\n"
    date = f"Date: {formatdate(usegmt=True)}\r\n"
    later = f"Retry-After: {RETRY_AFTER_S}\r\n" if status == 503 else ""
    return f"{head}{date}{later}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body


async def on_request_error(request: Request, error: Exception) -> Response:
    """Answer a RequestError."""
    logger.debug("refused: %s", error)
    return error_answer(str(error), error.status if isinstance(error, RequestError) else 500)


async def on_engine_error(request: Request, error: Exception) -> Response:
    """Answer an EngineError of the batcher, whose text is meant for clients."""
    logger.error("no answer: %s", error)
    return error_answer(str(error), 500)


async def on_http_error(request: Request, error: Exception) -> Response:
    """Answer an unknown path or method."""
    status, detail, headers = 500, "internal error", None
    if isinstance(error, HTTPException):
        status, detail, headers = error.status_code, error.detail, error.headers
    return error_answer(detail, status, headers)


async def on_disconnect(request: Request, error: Exception) -> Response:
    """End a request whose client is gone."""
    return Response(status_code=CLIENT_CLOSED_REQUEST)


async def on_any_error(request: Request, error: Exception) -> Response:
    """Answer what should never happen without telling the client anything of the inside; the server logs it."""
    # uvicorn closes a connection whose handler raised, and the client should know.
    return error_answer("internal error", 500, {"Connection": "close"})


HANDLERS = {
    RequestError: on_request_error,
    EngineError: on_engine_error,
    HTTPException: on_http_error,
    ClientDisconnect: on_disconnect,
    Exception: on_any_error,
}
