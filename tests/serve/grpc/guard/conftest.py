"""A guard before a stand-in for gRPC's library, which sends and takes what a test tells it to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from adaptertune_deploy.serve.grpc.guard.frames import ACKNOWLEDGED, NO_SETTINGS
from adaptertune_deploy.serve.grpc.guard.guard import Guard
from adaptertune_deploy.serve.grpc.guard.inner import Inner
from adaptertune_deploy.serve.listening.address import bind
from adaptertune_deploy.serve.settings import Settings
from benchmarks.clients.http2 import PREFACE, SETTINGS, frame
from tests.serve.fakes import WAIT_S

GREETING = PREFACE + frame(SETTINGS, 0, 0, bytes(6))
CALLS = 4
Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Guarded:
    """A guard that listens, why it ended connections, and the library's ends of those that it joined."""

    guard: Guard
    port: int
    inner: Inner
    reasons: list[str] = field(default_factory=list)
    joined: asyncio.Queue[Ends] = field(default_factory=asyncio.Queue)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def client(self, data: bytes = b"") -> Ends:
        """Connect, and send something."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writers.append(writer)
        writer.write(data)
        return reader, writer

    async def pair(self, more: bytes = b"") -> tuple[Ends, Ends]:
        """Return a client that has greeted, and the library's end, both after their settings."""
        client = await self.client(GREETING + more)
        library = await self.joined.get()
        assert await library[0].readexactly(len(GREETING)) == GREETING
        library[1].write(NO_SETTINGS)
        assert await library[0].readexactly(len(ACKNOWLEDGED)) == ACKNOWLEDGED
        assert await client[0].readexactly(len(NO_SETTINGS)) == NO_SETTINGS
        return client, library


@asynccontextmanager
async def guarded(settings: Settings | None = None) -> AsyncIterator[Guarded]:
    """Guard a stand-in for the length of a `with` block."""
    inner, listener = Inner(), bind("127.0.0.1", 0)
    guard = Guard(settings or Settings(), CALLS, inner, lambda reason: found.reasons.append(reason))
    found = Guarded(guard, listener.getsockname()[1], inner)

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found.writers.append(writer)
        await found.joined.put((reader, writer))

    library = await asyncio.start_unix_server(take, inner.path)
    guard.start(listener)
    try:
        yield found
    finally:
        library.close()
        for writer in found.writers:
            if not writer.transport.is_closing():
                writer.transport.abort()
        await guard.refuse()
        await guard.close()
        inner.remove()


def play(body: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(body, WAIT_S))


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)
