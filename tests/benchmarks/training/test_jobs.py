"""benchmarks.training.jobs: trainings at a time; and what one of them costs the processor."""

from __future__ import annotations

import os
import sys
import threading
from typing import Any

import pytest

from benchmarks.training import accuracy
from benchmarks.training.jobs import as_they_end, threads_of


def test_two_trainings_go_on_at_the_same_time() -> None:
    meeting = threading.Barrier(2, timeout=60)

    def training() -> dict[str, Any]:
        return {"place": meeting.wait()}

    assert sorted(run["place"] for run in as_they_end([training] * 2, 2)) == [0, 1]


def test_after_one_that_fails_none_is_begun() -> None:
    begun = []

    def fails() -> dict[str, Any]:
        begun.append(1)
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        list(as_they_end([fails] * 5, 1))
    assert len(begun) <= 2  # the pool's thread may take one more before it hears of the first


def test_the_cores_are_shared_out() -> None:
    cores = len(os.sched_getaffinity(0))
    assert threads_of(1) == cores
    assert threads_of(2 * cores) == 1


def test_a_command_says_what_it_cost_the_processor() -> None:
    words = "import time\nuntil = time.process_time() + 0.2\nwhile time.process_time() < until: pass\nprint('done')"
    said, seconds = accuracy._run([sys.executable, "-c", words], dict(os.environ))
    assert said == b"done\n"
    assert seconds >= 0.2
    with pytest.raises(RuntimeError, match="ended with 3"):
        accuracy._run([sys.executable, "-c", "raise SystemExit(3)"], dict(os.environ))
