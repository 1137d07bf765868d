"""The seconds of a run and of its parts, those of the processes that were stopped among them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

RUN = "run"


class Stopwatch:
    """Adds up the seconds of parts by their names; what a stopped process spent counts up to where it was kept last."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        """Start with nothing; `clock` tells seconds."""
        self._clock = clock
        self._ended: dict[str, float] = {}
        self._begun: dict[str, float] = {}

    def begin(self, part: str) -> None:
        """Count from now on."""
        self._begun[part] = self._clock()

    def end(self, part: str) -> float:
        """Count no more; returns the part's seconds in all."""
        self._ended[part] = self.seconds(part)
        del self._begun[part]
        return self._ended[part]

    def seconds(self, part: str) -> float:
        """Return the part's seconds until now."""
        now = self._clock()
        return self._ended.get(part, 0.0) + now - self._begun.get(part, now)

    def spent(self) -> dict[str, float]:
        """Return every part's seconds until now, to be kept."""
        return {part: self.seconds(part) for part in sorted({*self._ended, *self._begun})}

    def add(self, spent: Mapping[str, float]) -> None:
        """Add what another process spent before this one."""
        for part, seconds in spent.items():
            self._ended[part] = self._ended.get(part, 0.0) + seconds
