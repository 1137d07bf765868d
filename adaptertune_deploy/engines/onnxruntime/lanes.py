"""Which session a run goes to: one with all threads where it is alone, one with few threads beside other runs.

ONNX Runtime's threads belong to a session. Two runs at the same time on a session of two threads wait for each other's
operators; on a session of one thread each keeps a core busy.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from adaptertune_deploy.engines.onnxruntime.arenas import Peaks


def shares(threads: int, at_once: int) -> tuple[int, int]:
    """Return how many runs beside each other keep most of the threads busy, and the threads of each.

    Args:
        threads: of all of them.
        at_once: runs at most.
    """
    several = range(2, min(threads, at_once) + 1)
    runs = max(several, key=lambda number: (number * (threads // number), number), default=1)
    return runs, threads // runs


@dataclass
class Lane:
    """A session, and how large the runs on it are."""

    session: Any
    peaks: Peaks = field(default_factory=Peaks)


class Lanes:
    """The sessions of one graph; any number of threads may take them.

    Args:
        alone: the session of a run that begins while no other goes on.
        beside: the session of all other runs; None where they take the same.
    """

    def __init__(self, alone: Any, beside: Any = None) -> None:
        self._alone = Lane(alone)
        self._beside = self._alone if beside is None else Lane(beside)
        self._lock = threading.Lock()
        self._running = 0

    @contextlib.contextmanager
    def take(self) -> Iterator[Lane]:
        """Lend the session that a run begins on, for the length of a `with` block."""
        with self._lock:
            lane = self._beside if self._running else self._alone
            self._running += 1
        try:
            yield lane
        finally:
            with self._lock:
                self._running -= 1
