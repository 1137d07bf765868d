"""Ten tasks from one backbone, and ten models in tritonserver, asked the same by the same clients.

Each round asks both at their capacity, and both at the same rate, half of what the slower one just gave, at moments
that are drawn.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.clients.loads import CLIENTS, Load, drawn, p99_ms, resampled, waiting
from benchmarks.servers import rival, sessions
from benchmarks.servers.atd import Server, command, started
from benchmarks.servers.processes import proportional_mb
from benchmarks.serving.asked import Row, in_turn
from benchmarks.serving.rounded import ratio, spread

OURS, THEIRS = "atd", "triton"
FULL, HALF = 4, 16  # times the seconds of a part; of few requests the slowest in a hundred are two or three


@dataclass
class _Found:
    """One entry a round; `memory_mb` is of the end."""

    full: list[Load] = field(default_factory=list)
    half: list[Load] = field(default_factory=list)
    memory_mb: float = 0.0


class AgainstTriton:
    """Measures both round by round.

    Args:
        asked: rows of ten tasks.
        seconds: that one part of a round takes.
    """

    def __init__(self, asked: Sequence[Row], seconds: float) -> None:
        self._asked, self._seconds = asked, seconds
        self._found = {OURS: _Found(), THEIRS: _Found()}
        self._draw = Random(0)

    @contextlib.contextmanager
    def opened(self, bundle: Path, scratch: Path, threads: int) -> Iterator[None]:
        """Hold both servers for the length of a `with` block; each has answered every task rightly before.

        Args:
            bundle: with the shared graph.
            scratch: an empty folder.
            threads: of each of the models' sessions.

        Raises:
            NoTritonError: there is no tritonserver here.
            RuntimeError: a server does not start, or answers something else than the bundle.
        """
        repository = scratch / "models"
        rival.write_repository(bundle, repository, threads)
        self._sessions_mb = sessions.memory_mb(sorted(repository.glob("*/1/model.onnx")))
        self._threads, self._versions = threads, rival.versions()
        with started(command(bundle)) as ours, rival.rival(repository, scratch) as theirs:
            self._servers: dict[str, Server] = {OURS: ours, THEIRS: theirs}
            for server in self._servers.values():
                for row in {row.task: row for row in self._asked}.values():
                    row.check(server.port)
                waiting(server.port, in_turn(self._asked), CLIENTS, 2 * self._seconds)
            yield

    def round(self) -> None:
        """Measure everything once, in an order that is drawn."""
        for name in self._shuffled():
            load = waiting(self._servers[name].port, in_turn(self._asked), CLIENTS, FULL * self._seconds)
            self._found[name].full.append(load)
        rate = min(found.full[-1].rate for found in self._found.values()) / 2
        seed = len(self._found[OURS].half)
        for name in self._shuffled():
            load = drawn(self._servers[name].port, in_turn(self._asked), rate, HALF * self._seconds, seed)
            self._found[name].half.append(load)
            self._found[name].memory_mb = proportional_mb(self._servers[name].pid)

    def _shuffled(self) -> list[str]:
        return self._draw.sample([OURS, THEIRS], 2)

    def facts(self) -> dict[str, Any]:
        """Return what all rounds came to."""
        rates = {name: [load.rate for load in found.full] for name, found in self._found.items()}
        return {
            "tasks": len({row.task for row in self._asked}),
            "threads_a_model": self._threads,
            "triton_runs": self._versions,
            "images_per_s": ratio(rates[OURS], rates[THEIRS]),
            "sessions_alone_mb": round(self._sessions_mb, 1),
            "servers": {name: _facts(found) for name, found in self._found.items()},
        }


def _facts(found: _Found) -> dict[str, Any]:
    full, half = ([load.latencies for load in loads] for loads in (found.full, found.half))
    return {
        "images_per_s": spread([load.rate for load in found.full]),
        "full_p99_ms": spread(resampled(full, p99_ms)),
        "half_p99_ms": spread(resampled(half, p99_ms)),
        "half_offered_per_s": spread([len(load.latencies) / load.seconds for load in found.half]),
        "memory_mb": round(found.memory_mb, 1),
    }
