"""Times several things side by side, so that what else the machine does hits all of them alike."""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable, Hashable, Mapping
from contextlib import ExitStack, closing
from functools import partial
from operator import le
from typing import Protocol, TypeVar

Run = Callable[[], object]
Key = TypeVar("Key", bound=Hashable)


class Closeable(Protocol):
    """Something that holds memory until it is closed."""

    def close(self) -> None:
        """Release the memory."""


Opener = Callable[[], tuple[Closeable, Run]]


def time_rounds(
    runs: Mapping[Key, Run],
    enough: Callable[[int], bool],
    clock: Callable[[], float] = time.perf_counter,
    draw: random.Random | None = None,
) -> dict[Key, list[float]]:
    """Return each run's seconds, one number a round; numbers at one place come from one round.

    Everything runs once unmeasured; then in each round all run once, in an order drawn anew.

    Args:
        runs: what to time.
        enough: told before each round how many there were; True ends it.
        clock: what tells seconds; time.process_time counts the work alone, where other programs run too.
        draw: the order's source; None for one that is the same on every call.
    """
    draw = draw or random.Random(0)
    order, rounds = list(runs), 0
    seconds: dict[Key, list[float]] = {key: [] for key in order}
    for key in order:
        runs[key]()
    while not enough(rounds):
        draw.shuffle(order)
        for key in order:
            start = clock()
            runs[key]()
            seconds[key].append(clock() - start)
        rounds += 1
    return seconds


def time_interleaved(
    openers: Mapping[str, Opener], rounds: int, openings: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Return each candidate's seconds as time_rounds does, each opened more than once.

    Where memory happens to lie changes a session's speed by a few percent for its whole life, so every candidate is
    opened `openings` times.

    Args:
        openers: name -> a function that opens the candidate and returns it and how to run it once.
        rounds: rounds in all.
        openings: how often everything is opened afresh.
        clock: see time_rounds.
    """
    order, draw = list(openers), random.Random(0)
    seconds: dict[str, list[float]] = {name: [] for name in openers}
    for opening in range(openings):
        share = rounds * (opening + 1) // openings - rounds * opening // openings
        with ExitStack() as stack:
            draw.shuffle(order)
            runs: dict[str, Run] = {}
            for name in order:
                held, runs[name] = openers[name]()
                stack.enter_context(closing(held))
            for name, taken in time_rounds(runs, partial(le, share), clock, draw).items():
                seconds[name] += taken
        gc.collect()
    return seconds
