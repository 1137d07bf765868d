"""Taking connections from a listening socket: no more than there is room for, and slowly when descriptors run out.

asyncio's own server takes whatever comes, and writes a traceback for each connection that it can't take.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable

from adaptertune_deploy.serve.http.responses import raw_error
from adaptertune_deploy.serve.http.wire.connection import Connection
from adaptertune_deploy.serve.http.wire.watch import Watch

BACKLOG = 1024
BACK_OFF_S = 0.1
EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
FULL = raw_error("every connection is taken; try again later", 503)
logger = logging.getLogger(__name__)


def listen(listener: socket.socket) -> None:
    """Let clients connect to a bound socket; they wait until they are taken."""
    listener.setblocking(False)
    listener.listen(BACKLOG)


async def take_connections(listener: socket.socket, watch: Watch, make: Callable[[], Connection]) -> None:
    """Take connections until cancelled.

    Args:
        listener: see listen.
        watch: knows how many connections are open, and closes one to make room.
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
            watch.make_room()
            await asyncio.sleep(BACK_OFF_S)
            continue
        if len(watch) >= watch.capacity and not watch.make_room():
            _turn_away(connection, watch)
            continue
        await _begin(loop, connection, make)


async def _begin(loop: asyncio.AbstractEventLoop, connection: socket.socket, make: Callable[[], Connection]) -> None:
    try:
        if connection.family in (socket.AF_INET, socket.AF_INET6):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await loop.connect_accepted_socket(make, connection)
    except OSError:
        connection.close()


def _turn_away(connection: socket.socket, watch: Watch) -> None:
    watch.refused(503)
    with connection:
        connection.setblocking(False)
        try:
            connection.send(FULL)
        except OSError:
            return
