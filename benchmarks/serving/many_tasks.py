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
SHARE = 8  # one task in so many has a slot where slots are fewer than tasks


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
        self._slots = max(1, len(names[1]) // SHARE)
        self._one, self._many, self._in_slots = (list[float]() for _ in range(3))

    def round(self) -> None:
        """Start each server, and that of many with few slots, ask every task, and read the memory."""
        few = ("--slots", str(self._slots), "--task-memory", "0")
        self._one.append(self._memory_mb(0))
        self._many.append(self._memory_mb(1))
        self._in_slots.append(self._memory_mb(1, *few))

    def facts(self) -> dict[str, Any]:
        """Return the megabytes (10^6 bytes) of each, and the ratio of many to one."""
        return {
            "tasks": [len(names) for names in self._names],
            "one_mb": spread(self._one),
            "many_mb": spread(self._many),
            "ratio": ratio(self._many, self._one),
            "slots": self._slots,
            "in_slots_mb": spread(self._in_slots),
        }

    def _memory_mb(self, place: int, *options: str) -> float:
        """Return what a server of one of the bundles takes when it has answered for every task."""
        bundle, requests = self._bundles[place], [for_people([name], self._image) for name in self._names[place]]
        with started(command(bundle, *options)) as server:
            for request in requests:
                status, body = ask(Connection(server.port), request)
                if status != 200:
                    raise RuntimeError(f"{bundle}: {status}: {body[:200]!r}")
            waiting(server.port, itertools.cycle(requests), CLIENTS, self._seconds)
            return proportional_mb(server.pid)
