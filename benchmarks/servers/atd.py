"""A real `atd serve` in a process of its own, for benchmarks."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.clients.http1 import HOST, Connection

READY = b"GET /v2/health/ready HTTP/1.1\r\n" + HOST + b"\r\n"


@dataclass(frozen=True)
class Server:
    """A running `atd serve`.

    pid: of its process.
    port: where it listens.
    """

    pid: int
    port: int

    def resident_mb(self) -> float:
        """Return its resident memory, 10^6 bytes."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def descriptors(self) -> int:
        """Return how many it holds open."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))


@contextlib.contextmanager
def served(bundle: Path, *options: str) -> Iterator[Server]:
    """Serve a bundle for the length of a `with` block, the engine on one thread, with further options.

    Raises:
        RuntimeError: at the end, the server did not end well.
    """
    with started(command(bundle, "--threads", "1", "--no-tuning", *options)) as server:
        yield server


def command(bundle: Path, *words: str) -> list[str]:
    """Return the command that serves a bundle on a free port, with further options."""
    serve = [sys.executable, "-m", "adaptertune_deploy", "serve", "--bundle", str(bundle)]
    return [*serve, "--port", "0", "--drain-delay", "0", *words]


@contextlib.contextmanager
def started(command: Sequence[str]) -> Iterator[Server]:
    """Run a server for the length of a `with` block, which begins when it is ready.

    Args:
        command: whose first line ends in a colon and the port, 0 where it could not start.

    Raises:
        RuntimeError: at the end, the server did not end well.
    """
    with tempfile.TemporaryFile("w+") as log:
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as child:
            assert child.stdout is not None
            try:
                line = child.stdout.readline()
                port = int(line.rpartition(":")[2] or 0)
                while port and ask(Connection(port), READY)[0] != 200:
                    pass
                if port:
                    yield Server(child.pid, port)
            finally:
                child.terminate()
        log.seek(0)
        if child.returncode != 0:
            raise RuntimeError(f"the server ended with {child.returncode}: {log.read()[-2000:]}")


def ask(connection: Connection, request: bytes) -> tuple[int, bytes]:
    """Return status and body of one answer, status 0 where none came, and close the connection."""

    async def asking() -> tuple[int, bytes]:
        with contextlib.closing(connection):
            return await connection.ask(request)

    return asyncio.run(asking())
