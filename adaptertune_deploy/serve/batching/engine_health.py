"""Whether the engine can be trusted with more requests: not while runs fail one after another, or one hangs."""

from __future__ import annotations

import math
from time import monotonic

FAILURES = 3  # in a row


class EngineHealth:
    """What the latest runs came to; belongs to the event loop."""

    def __init__(self, run_timeout: float) -> None:
        """Begin healthy; a run of more than `run_timeout` seconds hangs."""
        self._run_timeout = run_timeout
        self._failures = 0
        self._began: dict[int, float] = {}

    @property
    def failing(self) -> bool:
        """Whether the latest runs failed; one that succeeds ends that."""
        return self._failures >= FAILURES

    @property
    def problem(self) -> str | None:
        """Why no more requests should come, or None."""
        if monotonic() - min(self._began.values(), default=math.inf) > self._run_timeout:
            return f"the engine has not finished a run for more than {self._run_timeout:g} seconds"
        if self.failing:
            return f"the engine failed {self._failures} times in a row"
        return None

    def began(self, instance: int = 0) -> None:
        """Note that a run begins, of which every instance has one at a time."""
        self._began[instance] = monotonic()

    def ended(self, fine: bool, instance: int = 0) -> None:
        """Note that it ended, and how."""
        self._began.pop(instance, None)
        self._failures = 0 if fine else self._failures + 1
