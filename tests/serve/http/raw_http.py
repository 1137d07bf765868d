"""A client that speaks bytes, so that it can say what no client library would."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
from types import TracebackType
from typing import Any

from tests.serve.fakes import WAIT_S, check_error_text

HEAD = b"Host: x\r\n"
LIVE = b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n"
STATUS = re.compile(rb"HTTP/1\.1 (\d\d\d) ")


class Wire:
    """A TCP connection to a server on this machine."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=WAIT_S)

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.socket.close()

    def send(self, *parts: bytes) -> Wire:
        self.socket.sendall(b"".join(parts))
        return self

    def read_all(self) -> bytes:
        """Return what comes until the server closes; it must close."""
        found = bytearray()
        while data := self.socket.recv(65_536):
            found += data
        return bytes(found)

    def read_while_sending(self, data: bytes) -> bytes:
        """Send on a thread of its own, and return what comes meanwhile until the server closes.

        A server that has answered takes the rest only up to a bound, so sending may end before all is sent.
        """
        found = bytearray()

        def send() -> None:
            with contextlib.suppress(ConnectionError):
                self.socket.sendall(data)

        sending = threading.Thread(target=send)
        sending.start()
        with contextlib.suppress(ConnectionError):
            while data_read := self.socket.recv(65_536):
                found += data_read
        sending.join()
        return bytes(found)

    def read_answer(self) -> tuple[int, Any]:
        """Return the status and the JSON body of the next answer, and leave the connection open."""
        found = bytearray()
        while b"\r\n\r\n" not in found:
            found += self._more()
        head, _, body = bytes(found).partition(b"\r\n\r\n")
        length = int(re.findall(rb"(?i)content-length: (\d+)", head)[0])
        while len(body) < length:
            body += self._more()
        assert len(body) == length
        return statuses(head)[0], json.loads(body)

    def closed(self) -> bool:
        """Wait until the server closes without another byte."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionError:
            return True

    def _more(self) -> bytes:
        data = self.socket.recv(65_536)
        assert data, "the server closed the connection"
        return data


def post(path: str, body: bytes, *headers: bytes) -> bytes:
    """Return a POST request; each header is a whole line."""
    return b"POST %s HTTP/1.1\r\n%s%sContent-Length: %d\r\n\r\n%s" % (
        path.encode(),
        HEAD,
        b"".join(headers),
        len(body),
        body,
    )


def ask(port: int, *parts: bytes) -> list[int]:
    """Send bytes on a connection of their own; return the statuses of all answers, once the server has closed it."""
    with Wire(port) as wire:
        return statuses(wire.send(*parts).read_all())


def refusal(port: int, *parts: bytes) -> tuple[int, str]:
    """Send bytes that must be refused with one JSON error, after which the server closes; return status and text."""
    with Wire(port) as wire:
        answer = wire.read_while_sending(b"".join(parts))
    head, _, body = answer.partition(b"\r\n\r\n")
    (status,) = statuses(answer)
    assert b"content-type: application/json" in head.lower()
    assert b"connection: close" in head.lower()
    document = json.loads(body)
    assert list(document) == ["error"]
    check_error_text(document["error"])
    return status, document["error"]


def statuses(answer: bytes) -> list[int]:
    return [int(status) for status in STATUS.findall(answer)]
