"""A real `atd serve` in a process of its own, for benchmarks."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.http_client import HOST, Connection

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
def served(bundle: Path, max_batch: int) -> Iterator[Server]:
    """Serve a bundle for the length of a `with` block, the engine on one thread.

    Raises:
        RuntimeError: at the end, the server did not end well.
    """
    command = [sys.executable, "-m", "adaptertune_deploy", "serve", "--bundle", str(bundle), "--port", "0"]
    command += ["--threads", "1", "--max-batch", str(max_batch), "--drain-delay", "0"]
    with tempfile.TemporaryFile("w+") as log:
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as child:
            assert child.stdout is not None
            try:
                line = child.stdout.readline()
                port = int(line.rpartition(":")[2] or 0)
                while port and asyncio.run(_status(port, READY)) != 200:
                    pass
                if port:
                    yield Server(child.pid, port)
            finally:
                child.terminate()
        log.seek(0)
        if child.returncode != 0:
            raise RuntimeError(f"the server ended with {child.returncode}: {log.read()[-2000:]}")


async def _status(port: int, request: bytes) -> int:
    with contextlib.closing(Connection(port)) as connection:
        return (await connection.ask(request))[0]
