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


async def take_connections(listener: socket.socket, room: Room, make: Callable[[], asyncio.BaseProtocol]) -> None:
    """Take connections until cancelled.

    Args:
        listener: see listen.
        room: knows how many connections are open, and closes one to make room.
        make: makes the protocol of a new connection.
    """
    loop = asyncio.get_running_loop()
    exhausted = False
    while True:
        try:
            connection, _ = await loop.sock_accept(listener)
            exhausted = False
        except OSError as error:
            if error.errno not in EXHAUSTED:
                continue  # the client went away before it was taken
            if not exhausted:
                logger.error("connections can't be taken: %s; waiting clients are let go of", error.strerror)
            exhausted = True
            room.make_room()
            await asyncio.sleep(BACK_OFF_S)
            continue
        if len(room) >= room.capacity and not room.make_room():
            room.turn_away(connection)
            continue
        await _begin(loop, connection, make)


async def _begin(
    loop: asyncio.AbstractEventLoop, connection: socket.socket, make: Callable[[], asyncio.BaseProtocol]
) -> None:
    try:
        if connection.family in (socket.AF_INET, socket.AF_INET6):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await loop.connect_accepted_socket(make, connection)
    except OSError:
        connection.close()
