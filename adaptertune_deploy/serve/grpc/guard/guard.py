"""Takes gRPC's clients, as many as there is room for, and connects those that greet as they should to the library."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from time import monotonic

from adaptertune_deploy.serve.grpc.guard.connection import LINGER_S, Connection, Stage
from adaptertune_deploy.serve.grpc.guard.inner import Inner
from adaptertune_deploy.serve.grpc.guard.rules import Violation
from adaptertune_deploy.serve.http.wire.listener import Arrivals, listen
from adaptertune_deploy.serve.http.wire.watch import FRESH_S, SWEEPS
from adaptertune_deploy.serve.listening import descriptors
from adaptertune_deploy.serve.settings import Settings

TICK_S = 0.02
logger = logging.getLogger(__name__)


def capacity(wanted: int) -> int:
    """Return how many connections this process can hold open: `wanted`, or what its limit on descriptors leaves."""
    each = descriptors.OF_GRPC * descriptors.SHARE
    return max(1, descriptors.for_connections(wanted * each) // each)


class Guard:
    """The connections of one listener; belongs to the event loop.

    Attributes:
        settings: the limits.
        capacity: connections that may be open.
        calls: that one connection may have open.

    Args:
        inner: where gRPC's library listens.
        count: called with the reason why a connection was ended.
    """

    def __init__(self, settings: Settings, calls: int, inner: Inner, count: Callable[[str], None]) -> None:
        self.settings, self.calls, self.capacity = settings, calls, capacity(settings.max_connections)
        self._inner, self._count = inner, count
        self._connections: dict[Connection, None] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._arrivals: Arrivals | None = None
        self._working: list[asyncio.Task[None]] = []

    def __len__(self) -> int:
        return len(self._connections)

    def start(self, listener: socket.socket) -> None:
        """Let clients connect to a bound socket."""
        listen(listener)
        self._arrivals = Arrivals(listener, self, lambda: Connection(self))
        loop = asyncio.get_running_loop()
        self._working = [loop.create_task(self._arrivals.take()), loop.create_task(self._sweep())]

    async def refuse(self) -> None:
        """Take no more connections; those that there are go on, and first calls are waited for, if not for long."""
        if self._arrivals is not None:
            self._arrivals.end()
            await asyncio.wait(self._working[:1])
        began = monotonic()  # the library takes no call once it ends
        while monotonic() < began + FRESH_S and self._expects_since(began - FRESH_S):
            await asyncio.sleep(TICK_S)

    async def close(self) -> None:
        """Hand out what the library left behind, and end every connection."""
        until = monotonic() + LINGER_S
        while monotonic() < until and not all(connection.flushed for connection in self._connections):
            await asyncio.sleep(TICK_S)
        for connection in list(self._connections):
            connection.abort()
        for task in (*self._working, *self._tasks):
            task.cancel()

    def _expects_since(self, then: float) -> bool:
        """Return whether a connection that was opened since a time.monotonic() value had no call yet."""
        found = (each for each in self._connections if each.stage is not Stage.ENDING)
        return any(each.opened > then and not each.asked for each in found)

    def make_room(self) -> bool:
        """End the connection that is missed least; False when all have a call open."""
        for stage in (Stage.ENDING, Stage.OPENED, Stage.JOINED):
            found = [each for each in self._connections if each.stage is stage and each.idle]
            if found:
                longest = min(found, key=lambda each: each.since)
                self.leave(longest)
                longest.make_room()
                return True
        return False

    def turn_away(self, connection: socket.socket) -> None:
        """Close a connection for which there is no room."""
        self._count("room")
        connection.close()

    def enter(self, connection: Connection) -> None:
        """See connection.Host; so below."""
        self._connections[connection] = None

    def leave(self, connection: Connection) -> None:
        """Forget a connection."""
        self._connections.pop(connection, None)

    def cut_off(self, connection: Connection, violation: Violation) -> None:
        """Count and log the end of a connection."""
        self._count(violation.reason)
        logger.debug("%s: connection ended: %s", connection.client or "-", violation)

    def join(self, connection: Connection) -> None:
        """Connect a client to gRPC's library."""
        task = asyncio.get_running_loop().create_task(self._join(connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _join(self, connection: Connection) -> None:
        try:
            end = self._inner.connect(connection.client)
        except OSError as error:
            logger.debug("%s: no way to gRPC's library: %s", connection.client or "-", error)
            connection.abort()
            return
        await asyncio.get_running_loop().connect_accepted_socket(lambda: Inside(connection), end)

    async def _sweep(self) -> None:
        settings = self.settings
        shortest = min(settings.header_timeout, settings.keep_alive, settings.answer_timeout)
        while True:
            await asyncio.sleep(min(1.0, max(0.01, shortest / SWEEPS)))
            now = monotonic()
            for connection in list(self._connections):
                connection.check(now)


class Inside(asyncio.Protocol):
    """The library's side of a connection."""

    def __init__(self, connection: Connection) -> None:
        """Belong to a client's side."""
        self._connection = connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.BaseProtocol; so below."""
        assert isinstance(transport, asyncio.Transport)
        self._connection.joined(transport)

    def data_received(self, data: bytes) -> None:
        """Hand on."""
        self._connection.answered(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Hand on."""
        self._connection.left()

    def pause_writing(self) -> None:
        """Hand on."""
        self._connection.hold_client(True)

    def resume_writing(self) -> None:
        """Hand on."""
        self._connection.hold_client(False)
