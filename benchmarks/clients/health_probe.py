"""A process that asks a server's health ten times a second until its standard input ends, and prints what came.

    python -m benchmarks.clients.health_probe PORT

A process of its own: beside a client that is busy, a probe would measure the client.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from time import monotonic

PAUSE_S = 0.1
LIMIT_S = 10.0
REQUEST = b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def probe(port: int) -> float | None:
    """Return the seconds from opening a connection to the answer 200; None where another or none came."""
    begun = monotonic()
    try:
        with socket.create_connection(("127.0.0.1", port), LIMIT_S) as connection:
            connection.sendall(REQUEST)
            answer = connection.recv(4096)
    except OSError:
        return None
    return monotonic() - begun if answer.startswith(b"HTTP/1.1 200") else None


@contextlib.contextmanager
def probing(port: int) -> Iterator[list[float | None]]:
    """Probe for the length of a `with` block; the list is filled when it ends."""
    found: list[float | None] = []
    command = [sys.executable, "-m", "benchmarks.clients.health_probe", str(port)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as child:
        try:
            yield found
        except BaseException:
            child.kill()
            raise
        output, _ = child.communicate()
    found.extend(json.loads(output))


def main(port: int) -> None:
    """Probe until standard input ends; print the seconds as a JSON array."""
    found = [probe(port)]
    while not select.select([sys.stdin], [], [], PAUSE_S)[0]:
        found.append(probe(port))
    print(json.dumps(found))


if __name__ == "__main__":
    main(int(sys.argv[1]))
