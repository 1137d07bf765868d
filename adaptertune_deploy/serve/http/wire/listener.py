"""Taking connections from a listening socket: no more than there is room for, and slowly when descriptors run out.

asyncio's own server takes whatever comes, and writes a traceback for each connection that it can't take.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable
from typing import Protocol

from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.serve.listening.address import release

BACKLOG = 1024
BACK_OFF_S = 0.1
EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
logger = logging.getLogger(__name__)


class Room(Protocol):
    """The connections that are open: watch.Watch, and gRPC's."""

    capacity: int

    def __len__(self) -> int:
        """Return how many there are."""

    def make_room(self) -> bool:
        """Close one; False where none can be missed."""

    def turn_away(self, connection: socket.socket) -> None:
        """Close one that there is no room for."""


def listen(listener: socket.socket) -> None:
    """Let clients connect to a bound socket; they wait until they are taken.

    Raises:
        UsageError: another server has begun to listen there since it was bound.
    """
    listener.setblocking(False)
    try:
        listener.listen(BACKLOG)
    except OSError as error:
        where = listener.getsockname()
        place = where if isinstance(where, str) else f"{where[0]}:{where[1]}"
        raise UsageError(f"can't listen on {place} ({error.strerror}); choose another address for it") from None


class Arrivals:
    """Takes the connections that arrive at one listening socket; belongs to the event loop.

    None is lost when it ends: a connection that the kernel has established counts as taken by its client.

    Args:
        listener: see listen.
        room: knows how many connections are open, and closes one to make room.
        make: makes the protocol of a new connection.
    """

    def __init__(self, listener: socket.socket, room: Room, make: Callable[[], asyncio.BaseProtocol]) -> None:
        self._listener, self._room, self._make = listener, room, make
        self._woken = asyncio.Event()
        self._ending = False

    async def take(self) -> None:
        """Take connections until `end`; then those that wait, and close the socket."""
        exhausted = False
        while not self._ending:
            try:
                connection, _ = self._listener.accept()
                exhausted = False
            except BlockingIOError:
                await self._until_woken()
                continue
            except OSError as error:
                if error.errno not in EXHAUSTED:
                    continue  # the client went away before it was taken
                if not exhausted:
                    logger.error("connections can't be taken: %s; waiting clients are let go of", error.strerror)
                exhausted = True
                self._room.make_room()
                await asyncio.sleep(BACK_OFF_S)
                continue
            await self._admit(connection)
        # No await until the socket is closed: what is established in between is reset by the kernel.
        waiting = self._waiting()
        release(self._listener)
        for connection in waiting:
            await self._admit(connection)

    def end(self) -> None:
        """Have `take` take what waits, and return."""
        self._ending = True
        self._woken.set()

    async def _until_woken(self) -> None:
        """Return when a connection waits, or at the end; who cancels this loses none."""
        loop = asyncio.get_running_loop()
        self._woken.clear()
        loop.add_reader(self._listener, self._woken.set)
        try:
            await self._woken.wait()
        finally:
            loop.remove_reader(self._listener)

    def _waiting(self) -> list[socket.socket]:
        """Return the connections that nobody has taken; bounded, since others may come as fast as they are taken."""
        found: list[socket.socket] = []
        for _ in range(2 * BACKLOG):
            try:
                found.append(self._listener.accept()[0])
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno in EXHAUSTED:
                    logger.error("connections can't be taken: %s; waiting clients are let go of", error.strerror)
                    break
        return found

    async def _admit(self, connection: socket.socket) -> None:
        if len(self._room) >= self._room.capacity and not self._room.make_room():
            self._room.turn_away(connection)
            return
        try:
            connection.setblocking(False)
            if connection.family in (socket.AF_INET, socket.AF_INET6):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().connect_accepted_socket(self._make, connection)
        except OSError:
            connection.close()
