"""Times several things side by side, so that what else the machine does hits all of them alike."""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Protocol

import numpy as np

Run = Callable[[], object]


class Closeable(Protocol):
    """Something that holds memory until it is closed."""

    def close(self) -> None:
        """Release the memory."""


Opener = Callable[[], tuple[Closeable, Run]]


@dataclass(frozen=True)
class Spread:
    """Median with the first and third quartile."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        """Return the spread of some values."""
        low, median, high = np.quantile(values, [0.25, 0.5, 0.75]).tolist()
        return cls(median, low, high)

    def __str__(self) -> str:
        return f"{self.median:.3f} [{self.low:.3f}, {self.high:.3f}]"


def time_interleaved(
    openers: Mapping[str, Opener], rounds: int, openings: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Return each candidate's seconds, one number a round; numbers at one place come from one round.

    Where memory happens to lie changes a session's speed by a few percent for its whole life, so every candidate is
    opened `openings` times; in each round all candidates run once, in an order drawn anew.

    Args:
        openers: name -> a function that opens the candidate and returns it and how to run it once.
        rounds: rounds in all.
        openings: how often everything is opened afresh.
        clock: what tells seconds; time.process_time counts the work alone, where other programs run too.
    """
    order, draw = list(openers), random.Random(0)
    seconds: dict[str, list[float]] = {name: [] for name in openers}
    for opening in range(openings):
        with ExitStack() as stack:
            draw.shuffle(order)
            runs: dict[str, Run] = {}
            for name in order:
                held, runs[name] = openers[name]()
                stack.enter_context(closing(held))
            for name in order:
                runs[name]()
            for _ in range(rounds * (opening + 1) // openings - rounds * opening // openings):
                draw.shuffle(order)
                for name in order:
                    start = clock()
                    runs[name]()
                    seconds[name].append(clock() - start)
        gc.collect()
    return seconds


def ratios(of: list[float], to: list[float]) -> Spread:
    """Return the spread of the ratios round by round."""
    return Spread.of([one / other for one, other in zip(of, to, strict=True)])
