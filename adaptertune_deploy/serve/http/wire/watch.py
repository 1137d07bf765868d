"""Every open connection: how many there may be, which one makes room, and when waiting ends."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from time import monotonic
from typing import Protocol

from adaptertune_deploy.core.errors import RequestError
from adaptertune_deploy.serve.http.responses import raw_error
from adaptertune_deploy.serve.http.wire.lingering import Lingering
from adaptertune_deploy.serve.http.wire.phase import Phase
from adaptertune_deploy.serve.listening.descriptors import for_connections
from adaptertune_deploy.serve.settings import Settings

# The order in which connections make room: those that owe the server nothing but a request come first.
GIVING_WAY = (Phase.ENDING, Phase.OPENED, Phase.IDLE, Phase.HEAD, Phase.BODY)
UNASKED = (Phase.OPENED, Phase.IDLE)
# From whom a request is on its way: when the server ends, who began just now is waited for so long.
ASKING = (Phase.OPENED, Phase.HEAD)
FRESH_S = 0.5
# Where less than one of so many connections is left, answers ask their clients to let go.
SCARCE = 8
LINGER_S = 2.0
SWEEPS = 4  # within the shortest time limit
FULL = "every connection is taken; try again later"


class Watched(Protocol):
    """A connection, see connection.Watched."""

    phase: Phase
    since: float
    received: int
    lingering: Lingering

    def refuse(self, error: RequestError) -> None:
        """Answer the request that is being read with an error, and close."""

    def abort(self) -> None:
        """Close at once."""


class Watch:
    """The connections of one server; belongs to its event loop.

    Attributes:
        settings: the limits.
        capacity: connections that may be open.
        draining: set to keep no connection open for another request.
    """

    def __init__(self, settings: Settings, on_refused: Callable[[int], None] = lambda status: None) -> None:
        """Watch nothing yet; `on_refused` is called with the HTTP status of every request that no handler sees."""
        self.settings = settings
        self.capacity = for_connections(settings.max_connections)
        self.draining = False
        self._on_refused = on_refused
        self._phases: dict[Phase, dict[Watched, None]] = {phase: {} for phase in Phase}
        self._where: dict[Watched, Phase] = {}
        self._blocked: dict[Watched, float] = {}

    def __len__(self) -> int:
        return len(self._where)

    @property
    def scarce(self) -> bool:
        """Whether hardly any connection is left."""
        return SCARCE * (self.capacity - len(self)) < self.capacity

    def count(self, phase: Phase) -> int:
        """Return how many connections are in a phase."""
        return len(self._phases[phase])

    def enter(self, connection: Watched) -> None:
        """Note that a connection is in another phase now, or in the same one anew."""
        self.leave(connection)
        self._phases[connection.phase][connection] = None
        self._where[connection] = connection.phase

    def leave(self, connection: Watched) -> None:
        """Forget a connection."""
        phase = self._where.pop(connection, None)
        if phase is not None:
            del self._phases[phase][connection]
        self._blocked.pop(connection, None)

    def refused(self, status: int) -> None:
        """Tell of a request that was refused before any handler saw it."""
        self._on_refused(status)

    def make_room(self) -> bool:
        """Close the connection that has kept this server waiting for longest; False when all are owed an answer.

        One that waits for a request is passed over where that has come and is not read yet. Nor is it reset: its client
        might lose the last answer.
        """
        for phase in GIVING_WAY:
            for connection in self._phases[phase]:
                unasked = phase in UNASKED
                if unasked and connection.lingering.arrived():
                    continue
                self.leave(connection)
                if unasked and not connection.lingering.unsent():
                    connection.lingering.close()
                else:
                    connection.abort()
                return True
        return False

    def turn_away(self, connection: socket.socket) -> None:
        """Tell a client that there is no room, and close its connection."""
        self.refused(503)
        with connection, contextlib.suppress(OSError):
            connection.setblocking(False)
            connection.send(raw_error(FULL, 503))

    def fresh(self) -> set[Watched]:
        """Return the connections that were opened, or whose request began, just now: the rest is on its way."""
        since = monotonic() - FRESH_S
        return {connection for phase in ASKING for connection in self._phases[phase] if connection.since > since}

    def unsent(self) -> bool:
        """Return whether a client has not taken all of an answer yet."""
        return any(connection.lingering.unsent() for connection in self._where)

    def abort_all(self) -> None:
        """Close every connection at once, but those that their clients are to read a last answer from."""
        for connection, phase in list(self._where.items()):
            if phase is not Phase.ENDING:
                connection.abort()

    async def sweep(self) -> None:
        """End what takes too long, until cancelled."""
        settings = self.settings
        shortest = min(settings.header_timeout, settings.keep_alive, settings.body_grace, settings.answer_timeout)
        while True:
            await asyncio.sleep(min(1.0, max(0.01, shortest / SWEEPS)))
            self.end_overdue(monotonic())

    def end_overdue(self, now: float) -> None:
        """End the connections that have waited for longer than their limit at a time.monotonic() value."""
        for phase, (limit_of, end) in _LIMITS.items():
            for connection in list(self._phases[phase]):
                if now - connection.since > limit_of(self.settings, connection):
                    end(connection)
        for connection in list(self._where):
            self._check_written(connection, now)

    def _check_written(self, connection: Watched, now: float) -> None:
        """Abort a connection whose client does not take its answer."""
        if not connection.lingering.unsent():
            self._blocked.pop(connection, None)
        elif now - self._blocked.setdefault(connection, now) > self.settings.answer_timeout:
            connection.abort()


def _body_s(settings: Settings, connection: Watched) -> float:
    """Return the seconds after which a body must have had more bytes than it has."""
    return settings.body_grace + connection.received / settings.min_body_rate


def _close(connection: Watched) -> None:
    """Close, unless a request has come in this very moment: the client would find no answer to it."""
    if not connection.lingering.arrived():
        connection.lingering.close()


def _head_late(connection: Watched) -> None:
    connection.refuse(RequestError("the request's head did not come in time; send it in one go", 408))


def _body_late(connection: Watched) -> None:
    connection.refuse(RequestError("the request's body came too slowly; send it again over a faster connection", 408))


# phase -> (seconds that it may last, what happens then)
_LIMITS: dict[Phase, tuple[Callable[[Settings, Watched], float], Callable[[Watched], None]]] = {
    Phase.OPENED: (lambda settings, _: settings.header_timeout, _close),
    Phase.IDLE: (lambda settings, _: settings.keep_alive, _close),
    Phase.HEAD: (lambda settings, _: settings.header_timeout, _head_late),
    Phase.BODY: (_body_s, _body_late),
    Phase.ENDING: (lambda settings, _: LINGER_S, lambda connection: connection.abort()),
}
