"""A request's body, read no further than its limit, and its client, watched while it waits."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

from adaptertune_deploy.core.errors import RequestError
from adaptertune_deploy.serve.batching.budget import Share
from adaptertune_deploy.serve.timing.waiting import end

Result = TypeVar("Result")
# zlib.decompressobj's wbits; HTTP's "deflate" is the zlib format (RFC 9110, section 8.4.1.2).
WINDOW_BITS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


async def read_body(request: Request, limit: int, share: Share) -> bytes:
    """Return a request's body as it was sent.

    Args:
        request: the request.
        limit: bytes of the largest body.
        share: grows with the body.

    Raises:
        RequestError: 413 as soon as the body is, or announces itself, larger than `limit`; 503 when the server is
            reading as much as it takes.
        ClientDisconnect: the client left before the end.
    """
    announced = request.headers.get("content-length", "")
    # More than 20 digits are more than any limit.
    if announced.isdecimal() and (len(announced) > 20 or int(announced) > limit):
        raise _too_large(limit)
    # One growing buffer: a list of a million one-byte chunks would hold forty times the body.
    body = bytearray()
    async for chunk in request.stream():
        if len(body) + len(chunk) > limit:
            raise _too_large(limit)
        share.reach(len(body) + len(chunk))
        body += chunk
    return bytes(body)


def check_encoding(encoding: str) -> None:
    """Raise RequestError (415) for a Content-Encoding that `decompress` does not know."""
    if encoding.strip().lower() not in ("", "identity", *WINDOW_BITS):
        raise RequestError("unsupported Content-Encoding; send gzip, deflate or an uncompressed body", 415)


def decompress(data: bytes, encoding: str, limit: int) -> bytes:
    """Undo a Content-Encoding; never makes more than `limit` bytes.

    Raises:
        RequestError: 415 for an unknown encoding, 400 for damaged data, 413 for more than `limit` bytes.
    """
    check_encoding(encoding)
    name = encoding.strip().lower()
    if name not in WINDOW_BITS:
        return data
    machine = zlib.decompressobj(WINDOW_BITS[name])
    try:
        result = machine.decompress(data, limit + 1)
    except zlib.error:
        raise RequestError(f"the body is not valid {name} data; compress it again") from None
    if len(result) > limit:
        raise _too_large(limit, "decompressed ")
    if not machine.eof or machine.unused_data:
        found = "bytes after its end" if machine.eof else "no end"
        raise RequestError(f"the body's {name} data has {found}; send one complete {name} stream")
    return result


async def unless_gone(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """Await `work`, but cancel it when the client disconnects; the body must have been read.

    Raises:
        ClientDisconnect: the client is gone.
    """
    task = asyncio.ensure_future(work)
    watch = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait([task, watch], return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        watch.cancel()
        await end(task)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _too_large(limit: int, what: str = "") -> RequestError:
    return RequestError(f"the {what}body is larger than {limit:,} bytes, the most this server takes", 413)
