"""A transport that closes as RFC 9112, section 9.6 asks: the client can read the answer though it was still sending.

Closing a socket with unread bytes in it resets the connection, and the reset may overtake the answer. So this side is
closed first, a bounded rest of the upload is thrown away, and then the connection ends.
"""

from __future__ import annotations

import asyncio
import select
import socket
import struct
from collections.abc import Callable
from typing import Any

MAX_DISCARDED = 1 << 20
GONE = select.POLLERR | select.POLLHUP | getattr(select, "POLLRDHUP", 0)  # the last one is Linux' alone


class Lingering(asyncio.Transport):
    """The transport of a socket, given to uvicorn in its place.

    Attributes:
        ending: whether this side is closed and the client is only listened to until it closes too.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        unread: Callable[[], bool],
        soon: Callable[[Callable[[], None]], object],
    ) -> None:
        """Take a transport.

        Args:
            transport: of a socket.
            unread: tells, when it is to be closed, whether the client may still be sending.
            soon: calls a function at the event loop's next turn.
        """
        super().__init__()
        self.ending = False
        self._transport = transport
        self._unread = unread
        self._soon = soon
        self._discarded = 0
        self._paused = self._holding = False
        self._first: bytes | None = None  # of an answer, kept for what follows

    def close(self) -> None:
        """Close, after a while where the client is still sending."""
        if self.is_closing():
            return
        self._flush()
        if self._unread():
            self.linger()
        else:
            self._transport.close()

    def linger(self) -> None:
        """Close this side and throw away what still comes."""
        if self.ending or self._transport.is_closing():
            return
        self._flush()
        self.ending = True
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._transport.resume_reading()

    def arrived(self) -> bool:
        """Return whether the client is there and has sent what the event loop had no turn to read yet."""
        connection = self._transport.get_extra_info("socket")
        if connection is None or self._transport.is_closing():
            return False
        poll = select.poll()  # needs no descriptor of its own, of which there may be none left
        poll.register(connection, select.POLLIN | GONE)
        return any(found & select.POLLIN and not found & GONE for _, found in poll.poll(0))

    def discard(self, size: int) -> None:
        """Throw away so many bytes; after a mebibyte nothing is read any more."""
        self._discarded += size
        if self._discarded > MAX_DISCARDED:
            self._transport.pause_reading()

    def abort(self) -> None:
        """Close at once; what is unsent is dropped by the kernel too."""
        self._first = None
        if self._transport.is_closing() and not self.unsent():
            return  # closed already, and the kernel delivers what it holds
        connection = self._transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def is_closing(self) -> bool:
        """Whether nothing can be written any more."""
        return self.ending or self._transport.is_closing()

    def write(self, data: Any) -> None:
        """Send bytes.

        uvicorn writes an answer's head and body one after the other: they go out together, which costs this side one
        system call and the client one wake-up less. A head that nothing follows goes at the event loop's next turn.
        """
        if self._first is not None:
            data, self._first = self._first + data, None
        elif data:
            self._first = bytes(data)
            self._soon(self._flush)
            return
        self._transport.write(data)

    def _flush(self) -> None:
        data, self._first = self._first, None
        if data is not None:
            self._transport.write(data)

    def unsent(self) -> int:
        """Return the bytes that the client has not taken yet."""
        return self._transport.get_write_buffer_size() + len(self._first or b"")

    def pause_reading(self) -> None:
        """Read no more for now."""
        self._paused = True
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again, unless it is held."""
        self._paused = False
        if not self.ending and not self._holding:
            self._transport.resume_reading()

    def hold(self, holding: bool) -> None:
        """Read nothing whatever uvicorn says, or let it decide again."""
        if holding == self._holding or self.ending or self._transport.is_closing():
            return
        self._holding = holding
        if holding:
            self._transport.pause_reading()
        elif not self._paused:
            self._transport.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """See asyncio.BaseTransport."""
        return self._transport.get_extra_info(name, default)
