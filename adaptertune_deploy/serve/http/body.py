"""A request's body, read no further than its limit, and its client, watched while it waits."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

from adaptertune_deploy.core.errors import RequestError
from adaptertune_deploy.serve.batching.budget import Share
from adaptertune_deploy.serve.timing.waiting import end

Result = TypeVar("Result")
# zlib.decompressobj's wbits; HTTP's "deflate" is the zlib format (RFC 9110, section 8.4.1.2).
WINDOW_BITS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
MEMBER = b"\x1f\x8b"  # what one of gzip begins with
MAX_MEMBERS = 1000
STEP = 1 << 16


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


def coding_of(lines: Sequence[str]) -> str:
    """Return the one coding that Content-Encoding names in all of its lines, "" for none; "identity" is none.

    Raises:
        RequestError: 415 for one that `decompress` does not know, and for several.
    """
    names = [name.strip().lower() for line in lines for name in line.split(",")]
    named = [name for name in names if name not in ("", "identity")]
    if len(named) > 1 or not WINDOW_BITS.keys() >= set(named):
        raise RequestError("unsupported Content-Encoding; send gzip, deflate or an uncompressed body", 415)
    return named[0] if named else ""


def decompress(data: bytes, coding: str, limit: int) -> bytes:
    """Undo a coding of coding_of; never makes more than `limit` bytes.

    Data in gzip may be several members, one behind the other (RFC 1952, section 2.2).

    Raises:
        RequestError: 400 for damaged data and too many members, 413 for more than `limit` bytes.
    """
    if not coding:
        return data
    parts: list[bytes] = []
    at = size = 0
    for _ in range(MAX_MEMBERS):
        machine = zlib.decompressobj(WINDOW_BITS[coding])
        while at < len(data) and not machine.eof:
            # What follows a member is copied: all of it once, then little for each of many.
            piece = data[at : at + STEP] if parts else data
            parts.append(_unpacked(machine, piece, coding, limit + 1 - size))
            size += len(parts[-1])
            if size > limit:
                raise _too_large(limit, "decompressed ")
            at += len(piece) - len(machine.unused_data)
        if not machine.eof:
            raise RequestError(f"the body's {coding} data has no end; send one complete {coding} stream")
        if at == len(data):
            return b"".join(parts)
        if coding == "deflate" or data[at : at + len(MEMBER)] != MEMBER:
            raise RequestError(f"the body's {coding} data has bytes after its end; send one complete {coding} stream")
    raise RequestError(f"the body is more than {MAX_MEMBERS:,} members of {coding}; compress it as one")


def _unpacked(machine: zlib._Decompress, piece: bytes, coding: str, most: int) -> bytes:
    try:
        return machine.decompress(piece, most)
    except zlib.error:
        raise RequestError(f"the body is not valid {coding} data; compress it again") from None


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
