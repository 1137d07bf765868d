"""Trainings that share a machine's cores."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any


def add_jobs(parser: argparse.ArgumentParser) -> None:
    """Give a command --jobs; see threads_of."""
    cores = len(os.sched_getaffinity(0))
    parser.add_argument("--jobs", type=int, default=cores, help="trainings at a time, which share the cores")


def threads_of(jobs: int) -> int:
    """Return the threads of each of so many trainings at a time."""
    return max(1, len(os.sched_getaffinity(0)) // jobs)


def as_they_end(trainings: Sequence[Callable[[], dict[str, Any]]], jobs: int) -> Iterator[dict[str, Any]]:
    """Yield what trainings return, so many of them at a time; where one fails, those that wait are not begun."""
    with ThreadPoolExecutor(jobs) as pool:
        started = [pool.submit(training) for training in trainings]
        try:
            for training in as_completed(started):
                yield training.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
