"""Whether engine runs at the same time pay on this machine, where they share the threads out, and of which size.

A run on two threads waits at the end of every operator for the slower one, and for long where another thread, one
that decodes, takes a core away. Two runs on a thread each wait for nobody. A lone run still has all threads, so that
nobody's answer comes later for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from adaptertune_deploy.serve.batching.run_times import ENOUGH, RunTimes
from adaptertune_deploy.serve.sessions.session import Session

ROUNDS, RUNS = 3, 4  # of every way; one after another, so that most of them begin beside another one
LARGEST = 2  # images of a run: larger ones only wait for each other where several go on
LONGEST_S = 0.5  # that all runs of a way may be expected to take, if they are of more than one image each


@dataclass(frozen=True, order=True)
class Way:
    """So many images in a run, and so many runs at the same time at most."""

    rows: int
    at_once: int


def time_together(
    session: Session,
    key: int,
    ways: list[Way],
    others: Executor,
    clock: Callable[[], float] = perf_counter,
) -> dict[Way, float]:
    """Return each way's images a second: the most of a few rounds that each hold every way once.

    What else the machine does only ever takes time, and from short rounds much of it.

    Args:
        session: runs gray images.
        key: of the task that is asked.
        ways: what is timed.
        others: where all runs but one of each way go on; it has a thread for each of them.
        clock: returns seconds.

    Raises:
        EngineError: the engine failed.
    """
    pixels = np.zeros((max(way.rows for way in ways), 3, *session.preprocess.size), dtype=np.float32)

    def run(rows: int) -> None:
        for _ in range(RUNS):
            session.run(pixels[:rows], np.arange(rows, dtype=np.int64), np.full(rows, key, dtype=np.int64))

    def rate(way: Way) -> float:
        begun = clock()
        beside = [others.submit(run, way.rows) for _ in range(way.at_once - 1)]
        try:
            run(way.rows)
        finally:
            for one in beside:
                one.result()
        return RUNS * way.rows * way.at_once / (clock() - begun)

    taken: dict[Way, list[float]] = {way: [] for way in ways}
    for _ in range(ROUNDS):
        for way in ways:
            taken[way].append(rate(way))
    return {way: max(rates) for way, rates in taken.items()}


def worth_timing(times: RunTimes, most: int, rows: int | None = None) -> list[Way]:
    """Return what is worth timing: one run and the most at the same time, with each size that may pay.

    Args:
        times: of runs alone.
        most: runs at the same time, in place of one.
        rows: of the one size that matters; None for all that were timed, up to LARGEST.
    """
    sizes = [rows] if rows is not None else [size for size in times.seconds if size <= LARGEST]
    return list(_worth(times.seconds[1], sizes, most))


def _worth(alone_s: float, sizes: list[int], most: int) -> Iterator[Way]:
    for size in sizes:
        for at_once in sorted({1, most}):
            if size == sizes[0] or at_once == 1 or RUNS * size * at_once * alone_s <= LONGEST_S:
                yield Way(size, at_once)


def choose(rates: Mapping[Way, float]) -> Way:
    """Return, of the ways that give nearly the most images, the one with the most and then the smallest runs.

    Nothing else wants the cores while they are timed. Where images are decoded meanwhile, a run on all threads loses
    more by it than runs on one.
    """
    enough = ENOUGH * max(rates.values())
    return max((way for way, rate in rates.items() if rate >= enough), key=lambda way: (way.at_once, -way.rows))
