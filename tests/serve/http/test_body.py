from __future__ import annotations

import asyncio
import gzip
import random
import tracemalloc
import zlib
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from adaptertune_deploy.core.errors import RequestError
from adaptertune_deploy.serve.batching.budget import Budget, Share
from adaptertune_deploy.serve.http.body import MAX_MEMBERS, STEP, coding_of, decompress, read_body, unless_gone
from tests.serve.fakes import WAIT_S

DISCONNECT: Message = {"type": "http.disconnect"}


def make_request(messages: Sequence[Message], headers: dict[str, str] | None = None) -> Request:
    """Return a request that receives these messages and then nothing more."""
    waiting = list(messages)

    async def receive() -> Message:
        if not waiting:
            await asyncio.Event().wait()
        return waiting.pop(0)

    raw = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    return Request({"type": "http", "method": "POST", "headers": raw}, receive)


def make_share(limit: int = 1000) -> Share:
    return Share(Budget(limit, "bytes"))


def chunks(*parts: bytes) -> list[Message]:
    last = len(parts) - 1
    return [{"type": "http.request", "body": part, "more_body": place < last} for place, part in enumerate(parts)]


def test_a_body_up_to_the_limit_is_returned() -> None:
    assert asyncio.run(read_body(make_request(chunks(b"ab", b"", b"cd")), 4, make_share())) == b"abcd"


def test_a_body_takes_its_share_while_it_is_read() -> None:
    share = make_share(limit=3)
    with pytest.raises(RequestError, match="2 of 3 bytes are taken and 2 more do not fit") as caught:
        asyncio.run(read_body(make_request(chunks(b"ab", b"cd", b"never read")), 100, share))
    assert (caught.value.status, share.size) == (503, 2)


def test_reading_stops_at_the_limit() -> None:
    messages = chunks(b"ab", b"cde", b"never read")
    request = make_request(messages)
    with pytest.raises(RequestError, match="larger than 4 bytes") as caught:
        asyncio.run(read_body(request, 4, make_share()))
    assert caught.value.status == 413


@pytest.mark.case("C7", "an announced length over the limit", "413 unread")
@pytest.mark.parametrize("length", ["5", "9" * 40])
def test_an_announced_length_over_the_limit_is_refused_unread(length: str) -> None:
    with pytest.raises(RequestError) as caught:
        asyncio.run(asyncio.wait_for(read_body(make_request([], {"content-length": length}), 4, make_share()), WAIT_S))
    assert caught.value.status == 413


def test_a_client_that_leaves_midway_ends_the_reading() -> None:
    with pytest.raises(ClientDisconnect):
        asyncio.run(read_body(make_request([chunks(b"a", b"b")[0], DISCONNECT]), 4, make_share()))


@given(st.binary(max_size=2000))
def test_compressed_bodies_come_back(data: bytes) -> None:
    assert decompress(gzip.compress(data), "gzip", 2000) == data
    assert decompress(zlib.compress(data), "deflate", 2000) == data
    assert decompress(data, "", 0) == data


@given(st.lists(st.binary(max_size=200), min_size=1, max_size=9))
def test_several_members_of_gzip_come_back_as_one(parts: list[bytes]) -> None:
    """As `cat a.gz b.gz` and bgzip make them."""
    whole = b"".join(parts)
    packed = b"".join(gzip.compress(part, mtime=0) for part in parts)
    assert decompress(packed, "gzip", len(whole)) == whole == gzip.decompress(packed)
    if whole:
        with pytest.raises(RequestError, match="decompressed body is larger"):
            decompress(packed, "x-gzip", len(whole) - 1)
    with pytest.raises(RequestError) as caught:
        decompress(packed[:-1], "gzip", len(whole))
    assert caught.value.status == 400


def test_large_members_come_back() -> None:
    parts = [random.Random(seed).randbytes(3 * STEP) for seed in range(3)]
    assert decompress(b"".join(map(gzip.compress, parts)), "gzip", 9 * STEP) == b"".join(parts)


@pytest.mark.case("C6", "a million empty members of gzip", "400")
def test_members_are_counted() -> None:
    empty = gzip.compress(b"", mtime=0)
    assert decompress(empty * MAX_MEMBERS, "gzip", 0) == b""
    with pytest.raises(RequestError, match="more than 1,000 members of gzip; compress it as one") as caught:
        decompress(empty * 1_000_000, "gzip", 1000)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("lines", "coding"),
    [
        ([], ""),
        ([""], ""),
        (["identity"], ""),
        ([" GZip "], "gzip"),
        (["identity", "gzip"], "gzip"),
        (["deflate, identity"], "deflate"),
        (["identity,", "x-gzip"], "x-gzip"),
    ],
)
def test_all_lines_of_a_content_encoding_count(lines: list[str], coding: str) -> None:
    assert coding_of(lines) == coding


@pytest.mark.case("C6", "encodings that are unknown or doubled", "415")
@pytest.mark.parametrize("lines", [["br"], ["gzip, gzip"], ["gzip", "gzip"], ["gzip", "deflate"], ["identity, br"]])
def test_an_unknown_or_a_second_coding_is_refused(lines: list[str]) -> None:
    with pytest.raises(RequestError, match="unsupported Content-Encoding") as caught:
        coding_of(lines)
    assert caught.value.status == 415


@pytest.mark.case("C6", "a gzip bomb", "413 without being unpacked")
def test_a_bomb_is_refused_without_being_unpacked() -> None:
    bomb = gzip.compress(bytes(65_000_000))
    tracemalloc.start()
    with pytest.raises(RequestError, match="decompressed body is larger than 1,000,000 bytes") as caught:
        decompress(bomb, "gzip", 1_000_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert caught.value.status == 413
    assert peak < 8_000_000


@pytest.mark.case("C6", "truncated and foreign data in an encoding", "400")
@pytest.mark.parametrize(
    ("data", "coding"),
    [
        (b"\x1f\x8b no gzip", "gzip"),
        (gzip.compress(b"whole", mtime=0)[:-3], "gzip"),
        (gzip.compress(b"one", mtime=0) + b"more", "gzip"),
        (gzip.compress(b"one", mtime=0) + b"\x1f\x8b", "gzip"),
        (gzip.compress(b"one", mtime=0) + b"\x1f\x8bmore and more", "gzip"),
        (b"", "gzip"),
        (zlib.compress(b"x")[2:], "deflate"),
        (zlib.compress(b"x") * 2, "deflate"),
    ],
)
def test_damaged_data_is_refused(data: bytes, coding: str) -> None:
    with pytest.raises(RequestError) as caught:
        decompress(data, coding, 1000)
    assert caught.value.status == 400


def test_work_ends_with_its_result_or_its_error() -> None:
    async def play() -> None:
        async def fine() -> int:
            return 7

        async def bad() -> int:
            raise RequestError("no")

        assert await unless_gone(make_request([]), fine()) == 7
        with pytest.raises(RequestError, match="no"):
            await unless_gone(make_request([]), bad())

    asyncio.run(asyncio.wait_for(play(), WAIT_S))


def test_work_is_cancelled_when_the_client_leaves() -> None:
    async def play() -> bool:
        cancelled = False

        async def forever() -> None:
            nonlocal cancelled
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled = True
                raise

        with pytest.raises(ClientDisconnect):
            await unless_gone(make_request([*chunks(b""), DISCONNECT]), forever())
        return cancelled

    assert asyncio.run(asyncio.wait_for(play(), WAIT_S))
