"""HTTP/2 by hand, for clients that no library would let be: frames as RFC 9113 has them, heads as RFC 7541 allows."""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping
from types import TracebackType

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RESET, SETTINGS, PING, GOAWAY, WINDOW, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
ACK = END_STREAM = 1
END_HEADERS = 4
WAIT_S = 30.0


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    """Return one frame."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def head(path: str, more: Mapping[str, str] | None = None) -> bytes:
    """Return the block of a gRPC request's head: literals that need no table."""
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": path,
        ":authority": "localhost",
        "te": "trailers",
        "content-type": "application/grpc",
        **(more or {}),
    }
    return b"".join(b"\0" + _text(name) + _text(value) for name, value in fields.items())


def call(stream: int, path: str, message: bytes | None, more: Mapping[str, str] | None = None) -> bytes:
    """Return the frames of a call; None for one whose message never comes."""
    begun = frame(HEADERS, END_HEADERS, stream, head(path, more))
    return begun if message is None else begun + frame(DATA, END_STREAM, stream, prefixed(message))


def prefixed(message: bytes) -> bytes:
    """Return a message as gRPC frames it."""
    return b"\0" + struct.pack(">I", len(message)) + message


def size(octets: int) -> bytes:
    """Return the length of a text of a head."""
    if octets < 127:
        return bytes([octets])
    left, found = octets - 127, [127]
    while left >= 128:
        found.append(left % 128 + 128)
        left //= 128
    return bytes([*found, left])


def _text(value: str) -> bytes:
    data = value.encode()
    return size(len(data)) + data


class Connection:
    """A client that sends what it is told to, and reads frames."""

    def __init__(self, port: int, greet: bool = True) -> None:
        """Connect; `greet` begins as HTTP/2 begins."""
        self.socket = socket.create_connection(("127.0.0.1", port), WAIT_S)
        self._rest = b""
        if greet:
            self.send(PREFACE, frame(SETTINGS))

    def __enter__(self) -> Connection:
        """Return itself; the end of the block closes it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.socket.close()

    def send(self, *data: bytes) -> bool:
        """Send bytes; return whether the server still takes any."""
        try:
            self.socket.sendall(b"".join(data))
        except OSError:
            return False
        return True

    def read(self) -> tuple[int, int, int, bytes] | None:
        """Return the next frame: kind, flags, stream, payload; None where the server closed."""
        start = self._take(9)
        if start is None:
            return None
        kind, flags, stream = struct.unpack(">BBI", start[3:])
        payload = self._take(int.from_bytes(start[:3], "big"))
        return None if payload is None else (kind, flags, stream, payload)

    def closed(self) -> bool:
        """Read to the end; return whether the server closed the connection in time."""
        try:
            while self.read() is not None:
                pass
        except TimeoutError:
            return False
        return True

    def _take(self, size: int) -> bytes | None:
        while len(self._rest) < size:
            try:
                data = self.socket.recv(65536)
            except ConnectionError:
                data = b""
            if not data:
                return None
            self._rest += data
        found, self._rest = self._rest[:size], self._rest[size:]
        return found
