"""Frames of HTTP/2: their heads of nine octets, found in a stream of bytes; what they hold is nobody's business here.

RFC 9113, sections 4.1 (heads), 6 (kinds and flags), 7 (codes of errors).
"""

from __future__ import annotations

import struct
from collections.abc import Callable

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD = struct.Struct(">HBBBL")  # length in three octets, kind, flags, stream
DATA, HEADERS, PRIORITY, RESET, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
ACK = END_STREAM = 1
END_HEADERS = 4
PROTOCOL_ERROR, FRAME_SIZE_ERROR, ENHANCE_YOUR_CALM = 0x1, 0x6, 0xB
NO_ERROR = 0x0
_STREAM = 0x7FFFFFFF  # the first bit of the four octets means nothing


def farewell(last: int, code: int, text: str) -> bytes:
    """Return the frame GOAWAY.

    Args:
        last: the last stream that was taken.
        code: of the error.
        text: what a person finds who looks.
    """
    payload = struct.pack(">LL", last, code) + text.encode()
    return HEAD.pack(0, len(payload), GOAWAY, 0, 0) + payload


NO_SETTINGS = HEAD.pack(0, 0, SETTINGS, 0, 0)
ACKNOWLEDGED = HEAD.pack(0, 0, SETTINGS, ACK, 0)


class Frames:
    """The frames in what one side of a connection sends, however it is cut into reads.

    Args:
        on_frame: called with kind, flags, stream and length in octets of each frame, as soon as its head is there;
            returns whether the frame is left out, which it may be where it has no octets.
    """

    def __init__(self, on_frame: Callable[[int, int, int, int], bool]) -> None:
        self._on_frame = on_frame
        self._left = 0  # octets of the last frame that are to come
        self._head = b""  # the beginning of the next one

    @property
    def whole(self) -> bool:
        """Whether every frame that was handed on is there to its end."""
        return not self._left

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes; return what may go on: all but a head that has only begun."""
        if self._head:
            data, self._head = self._head + data, b""
        at, end = self._left, len(data)
        while end - at >= HEAD.size:
            high, low, kind, flags, stream = HEAD.unpack_from(data, at)
            length = high << 8 | low
            if self._on_frame(kind, flags, stream & _STREAM, length):
                data = data[:at] + data[at + HEAD.size :]
                end -= HEAD.size
            else:
                at += HEAD.size + length
        self._left = max(0, at - end)
        self._head = data[at:]
        return data[:at]
