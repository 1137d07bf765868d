"""The seconds that a measurement may take, and how far a person is told that it is."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from adaptertune_deploy.core.progress import Progress, silent

LEAST = 3  # rounds without which quartiles say nothing


class Budget:
    """A time that runs from its making.

    Attributes:
        seconds: all of it.
        clock: what tells seconds.
    """

    def __init__(
        self, seconds: float, progress: Progress = silent, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        """Start the time; `progress` is told how much of it has passed."""
        self.seconds, self.clock = seconds, clock
        self._progress, self._start, self._stage = progress, clock(), ""

    @property
    def passed(self) -> float:
        """Seconds since its making."""
        return self.clock() - self._start

    @property
    def left(self) -> float:
        """Seconds that are left, 0 when it is over."""
        return max(0.0, self.seconds - self.passed)

    def say(self, stage: str = "") -> None:
        """Tell a person what is being done; without a stage only that time has passed."""
        self._stage = stage or self._stage
        self._progress(f"measuring, {self._stage}", int(min(self.passed, self.seconds)), math.ceil(self.seconds))

    def enough(self, share: float, least: int = LEAST) -> Callable[[int], bool]:
        """Return what ends rounds once they have taken this share of what is left now, and so many ran at least.

        When the whole time is over, one round is enough.
        """
        until = self.clock() + share * self.left

        def over(rounds: int) -> bool:
            self.say()
            return self.clock() >= until and rounds >= (least if self.left else 1)

        return over
