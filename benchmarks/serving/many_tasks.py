"""The memory of a server with many tasks against one with a single task."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.clients.http1 import Connection
from benchmarks.clients.loads import waiting
from benchmarks.servers.atd import ask, command, started
from benchmarks.servers.processes import proportional_mb
from benchmarks.serving.asked import for_people
from benchmarks.serving.rounded import ratio, spread

CLIENTS = 4


class ManyTasks:
    """Measures servers that are started anew in each round.

    Args:
        bundles: with one task and with many.
        names: of the tasks of each.
        image: that they are asked about.
        seconds: for which each is asked before its memory is read.
    """

    def __init__(self, bundles: Sequence[Path], names: Sequence[Sequence[str]], image: bytes, seconds: float) -> None:
        self._bundles, self._names, self._image, self._seconds = bundles, names, image, seconds
        self._mb: list[list[float]] = [[] for _ in bundles]

    def round(self) -> None:
        """Start each server, ask every task, and read the memory."""
        for bundle, names, found in zip(self._bundles, self._names, self._mb, strict=True):
            with started(command(bundle)) as server:
                requests = [for_people([name], self._image) for name in names]
                for request in requests:
                    status, body = ask(Connection(server.port), request)
                    if status != 200:
                        raise RuntimeError(f"{bundle}: {status}: {body[:200]!r}")
                waiting(server.port, itertools.cycle(requests), CLIENTS, self._seconds)
                found.append(proportional_mb(server.pid))

    def facts(self) -> dict[str, Any]:
        """Return the megabytes (10^6 bytes) of each, and their ratio."""
        one, many = self._mb
        return {
            "tasks": [len(names) for names in self._names],
            "one_mb": spread(one),
            "many_mb": spread(many),
            "ratio": ratio(many, one),
        }
