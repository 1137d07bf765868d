"""How many messages may be on their way at a time, and who makes room for others.

gRPC reads a message as a whole and says nothing of it before. So calls begin before their messages are read, only so
many are read at a time, and the bytes of the others wait at their clients. A client that has kept the server waiting
for longer than a grace is let go of where another call waits for its place: nobody holds one by sending nothing.

When the server ends, who has sent nothing is let go of almost at once, and nobody has more than a moment to send on:
gRPC does not tell what came before from what comes now.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any, Protocol

from adaptertune_deploy.core.errors import RequestError
from adaptertune_deploy.serve.timing.waiting import end, within

LAST_S = 0.05  # for a message that was on its way when the server began to end
MOST_S = 1.0  # for all messages of a stream that were
LEFT = "the server is shutting down; send further requests to another one"
LATE = "the message did not come in time, and others waited; send the request again"


class Messages(Protocol):
    """The part of a call that is used here: grpc.aio.ServicerContext."""

    async def read(self) -> Any:
        """Return the next message, or grpc.aio.EOF."""


class Places:
    """Places for calls whose messages are read; belongs to the event loop.

    Args:
        count: places.
        grace: seconds for which a client may keep the server waiting though others wait.
    """

    def __init__(self, count: int, grace: float) -> None:
        self._count, self._grace = count, grace
        self._free = asyncio.Semaphore(count)
        self._held: set[Place] = set()
        self._waiting = 0
        self._timer: asyncio.TimerHandle | None = None
        self._closes = math.inf

    @asynccontextmanager
    async def take(self, patient: bool = True) -> AsyncIterator[Place]:
        """Hold a place for the length of a `with` block.

        Args:
            patient: whether to wait for one; who is not gets one that is free, or is freed by a client that is late.

        Raises:
            RequestError: 503, no place is free, and who asks is not patient.
        """
        if not patient and self._free.locked() and not self._overdue():
            raise RequestError(f"{self._count} streams are open, the most at a time; try again later", 503)
        self._waiting += 1
        try:
            self.look()
            await self._free.acquire()
        finally:
            self._waiting -= 1
        place = Place(self)
        self._held.add(place)
        try:
            yield place
        finally:
            self._held.discard(place)
            self._free.release()

    def look(self) -> None:
        """Let go of as many late clients as calls wait, and look again when the next one is late."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        leaving = sum(place.late for place in self._held)
        lacking = self._waiting - leaving - (self._count - len(self._held))
        if lacking <= 0:
            return
        for place in self._overdue()[:lacking]:
            place.let_go()
        waited_for = [place.since for place in self._held if not place.late]
        soonest = min(waited_for, default=math.inf) + self._grace - monotonic()
        if not math.isinf(soonest):
            self._timer = asyncio.get_running_loop().call_later(max(0.001, soonest), self.look)

    def close(self) -> None:
        """Wait only moments for messages from now on."""
        self._closes = monotonic() + MOST_S
        for place in self._held:
            place.hurry(LAST_S)

    @property
    def left(self) -> float | None:
        """Seconds for which a message may be waited for because the server ends; None while it does not."""
        return None if math.isinf(self._closes) else min(LAST_S, self._closes - monotonic())

    @property
    def pressed(self) -> bool:
        """Whether a call waits for a place."""
        return self._waiting > 0

    def _overdue(self) -> list[Place]:
        """Return the places whose clients are late, the latest first."""
        until = monotonic() - self._grace
        late = (place for place in self._held if not place.late and place.since <= until)
        return sorted(late, key=lambda place: place.since)


class Place:
    """One call's.

    Attributes:
        since: when the server began to wait for the client's next message, a time.monotonic() value; infinity while
            it does not wait.
        late: whether the client was let go of.
    """

    def __init__(self, places: Places) -> None:
        """Begin without a message to wait for."""
        self.since, self.late = math.inf, False
        self._places = places
        self._reading: asyncio.Future[Any] | None = None
        self._hurried = False

    async def read(self, call: Messages, seconds: float | None = None) -> Any:
        """Return a call's next message, or grpc.aio.EOF.

        Raises:
            RequestError: 408, the client was let go of; 503, it was since the server ends.
            asyncio.TimeoutError: so many seconds were over.
        """
        left = self._places.left
        if left is not None:
            return await self._last(call, left)
        self.since, self._reading = monotonic(), asyncio.ensure_future(call.read())
        if self._places.pressed:
            self._places.look()
        try:
            return await within(self._reading, seconds)
        except asyncio.CancelledError:
            if self.late:
                raise RequestError(LATE, 408) from None
            if self._hurried:
                raise RequestError(LEFT, 503) from None
            raise
        finally:
            self.since = math.inf
            await end(self._reading)

    def let_go(self) -> None:
        """Wait for the client no more."""
        self.late = True
        if self._reading is not None:
            self._reading.cancel()

    def hurry(self, seconds: float) -> None:
        """Wait so many seconds more for the message that is waited for now, if any is."""
        if self._reading is not None and not self._reading.done():
            asyncio.get_running_loop().call_later(seconds, self._give_up, self._reading)

    def _give_up(self, reading: asyncio.Future[Any]) -> None:
        if not reading.done():
            self._hurried = True
            reading.cancel()

    async def _last(self, call: Messages, seconds: float) -> Any:
        """Return a call's next message, or grpc.aio.EOF, though the server ends."""
        try:
            return await within(call.read(), seconds)
        except asyncio.TimeoutError:
            raise RequestError(LEFT, 503) from None
