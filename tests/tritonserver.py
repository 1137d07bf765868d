"""NVIDIA's tritonserver (benchmarks.servers.tritonserver) for tests, which are skipped where it is not installed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.servers import tritonserver as server
from tests.flow.waiting import wait_until_ready


def make_backends(folder: Path) -> Path:
    """Return a folder of backends with the one for Python, or skip the test."""
    try:
        return server.make_backends(folder)
    except server.NoTritonError as error:
        pytest.skip(str(error))


@contextmanager
def tritonserver(backends: Path, repositories: Sequence[Path], log: Path, *words: str) -> Iterator[str]:
    """Run the server for the length of a `with` block; yields HOST:PORT of its HTTP."""
    with server.tritonserver(backends, repositories, log, *words) as (running, port):
        try:
            wait_until_ready(f"http://127.0.0.1:{port}", tries=1000, server=running)
        except AssertionError:
            raise AssertionError(log.read_text()[-4000:]) from None
        yield f"127.0.0.1:{port}"
