"""How much of the machine reaches the images: a server's images a second against its engine's, and at half load.

Every round measures all of it once: the engine alone at some batch sizes, preprocessing alone, a server whose engine
only waits, the server itself at its capacity, one image at a time, and the server at half of what it just gave.
"""

from __future__ import annotations

import contextlib
import json
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.clients.http1 import HOST, Connection, cycle, percentile
from benchmarks.clients.loads import CLIENTS, Load, drawn, p99_ms, resampled, spaced, waiting
from benchmarks.servers.atd import Server, ask, command, started
from benchmarks.servers.processes import cpu_s
from benchmarks.serving.alone import Alone, Taken, alone
from benchmarks.serving.asked import Row, for_people
from benchmarks.serving.rounded import ratio, spread

INDEX = b"GET / HTTP/1.1\r\nAccept: application/json\r\n" + HOST + b"\r\n"
SPACED, DRAWN = ARRIVALS = ("evenly spaced", "drawn")  # moments of requests at half load
SIZES = (1, 2, 4, 8)  # rows of a run of the engine alone


@dataclass
class Rounds:
    """What each round found, one entry a round.

    engine: of each batch size.
    idle: the server whose engine waits: processor milliseconds an image, its clients left out.
    single: one client.
    half: clients that don't wait, at `offered` requests a second, by how their moments lie (ARRIVALS).
    """

    engine: dict[int, list[Taken]] = field(default_factory=lambda: {rows: [] for rows in SIZES})
    images: list[Taken] = field(default_factory=list)
    idle_ms: list[float] = field(default_factory=list)
    full: list[Load] = field(default_factory=list)
    full_ms: list[float] = field(default_factory=list)
    single: list[Load] = field(default_factory=list)
    half: dict[str, list[Load]] = field(default_factory=lambda: {name: [] for name in ARRIVALS})
    offered: list[float] = field(default_factory=list)

    @property
    def best(self) -> int:
        """The batch size with which the engine alone gives the most images."""
        return max(SIZES, key=lambda rows: median(taken.rate for taken in self.engine[rows]))


class Capacity:
    """Measures one model round by round.

    Args:
        asked: rows that the server is asked.
        seconds: that one part of a round takes; the loads take several times as long.
        cores: that server and clients share.
    """

    def __init__(self, asked: Sequence[Row], seconds: float, cores: int) -> None:
        self._requests = [for_people([row.task], row.image) for row in asked]
        self._seconds, self._cores = seconds, cores
        self._found = Rounds()
        self._draw = random.Random(0)

    @contextlib.contextmanager
    def opened(self, bundle: Path, photographs: Path) -> Iterator[None]:
        """Hold the processes for the length of a `with` block."""
        with contextlib.ExitStack() as stack:
            self._alone: Alone = stack.enter_context(alone(bundle, photographs))
            runs = [[rows, rows / self._alone.engine(rows, self._seconds).rate] for rows in SIZES]
            self._server: Server = stack.enter_context(started(command(bundle)))
            self._batch = _batch_of(self._server)
            words = [str(bundle), json.dumps(runs), str(self._batch)]
            idle = [sys.executable, "-m", "benchmarks.servers.idle_engine", *words]
            self._idle: Server = stack.enter_context(started(idle))
            for server in (self._server, self._idle):
                waiting(server.port, cycle(self._requests), CLIENTS, self._seconds)
            yield

    def round(self) -> None:
        """Measure everything once, the parts in an order that is drawn."""
        parts: list[Callable[[], None]] = [self._measure_alone, self._measure_idle, self._measure_loads]
        self._draw.shuffle(parts)
        for part in parts:
            part()

    def _measure_alone(self) -> None:
        for rows in self._draw.sample(SIZES, len(SIZES)):
            self._found.engine[rows].append(self._alone.engine(rows, self._seconds))
        self._found.images.append(self._alone.images(self._seconds))

    def _measure_idle(self) -> None:
        _, milliseconds = self._asked(self._idle, CLIENTS, 3 * self._seconds)
        self._found.idle_ms.append(milliseconds)

    def _measure_loads(self) -> None:
        full, milliseconds = self._asked(self._server, CLIENTS, 5 * self._seconds)
        self._found.full.append(full)
        self._found.full_ms.append(milliseconds)
        self._found.single.append(self._asked(self._server, 1, 2 * self._seconds)[0])
        rate = full.rate / 2
        self._found.offered.append(rate)
        requests, half, seconds = cycle(self._requests), self._found.half, 8 * self._seconds
        half[SPACED].append(spaced(self._server.port, requests, rate, seconds))
        half[DRAWN].append(drawn(self._server.port, requests, rate, seconds, len(half[DRAWN])))

    def _asked(self, server: Server, clients: int, seconds: float) -> tuple[Load, float]:
        """Return what waiting clients got, and the milliseconds of processor time that the server took for each."""
        before = cpu_s(server.pid)
        load = waiting(server.port, cycle(self._requests), clients, seconds)
        return load, 1e3 * (cpu_s(server.pid) - before) / len(load.latencies)

    def facts(self) -> dict[str, Any]:
        """Return what all rounds came to; milliseconds, images a second, and ratios round by round."""
        found, rows = self._found, self._found.best
        engine, rates = found.engine[rows], [load.rate for load in found.full]
        client_ms = [load.client_ms for load in found.full]
        whole_ms = [sum(parts) for parts in zip((one.cpu_ms for one in engine), found.idle_ms, client_ms, strict=True)]
        budget = [1e3 * self._cores / milliseconds for milliseconds in whole_ms]
        return {
            "batch": rows,
            "server_batch": self._batch,
            "engine_per_s": {str(size): spread([one.rate for one in taken]) for size, taken in found.engine.items()},
            "cpu_ms": {
                "engine": spread([one.cpu_ms for one in engine]),
                "preprocessing": spread([one.cpu_ms for one in found.images]),
                "beside the engine": spread(found.idle_ms),
                "client": spread(client_ms),
                "server at capacity": spread(found.full_ms),
            },
            "budget_per_s": spread(budget),
            "server_per_s": spread(rates),
            "to_budget": ratio(rates, budget),
            "to_engine": ratio(rates, [one.rate for one in engine]),
            "half_load": {name: self._half_load(found.half[name]) for name in ARRIVALS},
        }

    def _half_load(self, half: Sequence[Load]) -> dict[str, Any]:
        single = [value for load in self._found.single for value in load.latencies]
        rounds = [load.latencies for load in half]
        pooled = [value for load in rounds for value in load]
        alone_ms = 1e3 * median(single)
        return {
            "offered_per_s": spread(self._found.offered),
            "requests": len(pooled),
            "single_ms": spread([1e3 * value for value in single]),
            "p50_ms": round(1e3 * percentile(pooled, 0.5), 3),
            "p99_ms": round(p99_ms(pooled), 3),
            "to_single": round(p99_ms(pooled) / alone_ms, 4),
            "to_single_resampled": spread([value / alone_ms for value in resampled(rounds, p99_ms)]),
            "late_p99_ms": round(p99_ms([value for load in half for value in load.late]), 3),
        }


def _batch_of(server: Server) -> int:
    """Return the rows of a server's batches at most, which it finds at its start."""
    _, body = ask(Connection(server.port), INDEX)
    return int(json.loads(body)["batch"]["rows"])
