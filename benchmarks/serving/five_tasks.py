"""One image asked for five tasks: in one request, in five requests at once, and in five after one another."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.clients.loads import together
from benchmarks.servers.atd import Server, command, started
from benchmarks.servers.processes import cpu_s
from benchmarks.serving.asked import for_people
from benchmarks.serving.rounded import ratio, spread

ONE, AT_ONCE, IN_TURN = "one request", "five at once", "five in turn"


class FiveTasks:
    """Measures one bundle round by round.

    Args:
        tasks: names of five.
        images: encoded.
        seconds: that one part of a round takes.
    """

    def __init__(self, tasks: Sequence[str], images: Sequence[bytes], seconds: float) -> None:
        self._images, self._seconds = images, seconds
        self._ways = {ONE: [[*tasks]], AT_ONCE: [[task] for task in tasks], IN_TURN: [[task] for task in tasks]}
        self._wall_ms: dict[str, list[float]] = {way: [] for way in self._ways}
        self._cpu_ms: dict[str, list[float]] = {way: [] for way in self._ways}
        self._draw = Random(0)

    @contextlib.contextmanager
    def opened(self, bundle: Path) -> Iterator[None]:
        """Hold the server for the length of a `with` block."""
        with started(command(bundle)) as server:
            self._server: Server = server
            for way in self._ways:
                self._measure(way)
            yield

    def round(self) -> None:
        """Measure every way once, in an order that is drawn."""
        for way in self._draw.sample(list(self._ways), len(self._ways)):
            wall_ms, cpu_ms = self._measure(way)
            self._wall_ms[way].append(wall_ms)
            self._cpu_ms[way].append(cpu_ms)

    def _measure(self, way: str) -> tuple[float, float]:
        """Return the milliseconds of one image, and of the server's processor time for it."""
        requests = [[for_people(tasks, image) for tasks in self._ways[way]] for image in self._images]
        groups = [[one] for group in requests for one in group] if way == IN_TURN else requests
        before = cpu_s(self._server.pid)
        load = together(self._server.port, itertools.cycle(groups), self._seconds)
        times = len(self._ways[way]) if way == IN_TURN else 1
        images = len(load.latencies) / times
        return 1e3 * load.seconds / images, 1e3 * (cpu_s(self._server.pid) - before) / images

    def facts(self) -> dict[str, Any]:
        """Return what all rounds came to; ratios are to five requests at once."""
        return {
            way: {
                "milliseconds": spread(self._wall_ms[way]),
                "cpu_ms": spread(self._cpu_ms[way]),
                "to_at_once": ratio(self._wall_ms[way], self._wall_ms[AT_ONCE]),
                "cpu_to_at_once": ratio(self._cpu_ms[way], self._cpu_ms[AT_ONCE]),
            }
            for way in self._ways
        }
