from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.serve.batching.at_once import ROUNDS, RUNS, Way, choose, time_together, worth_timing
from adaptertune_deploy.serve.batching.run_times import RunTimes
from tests.serve.batching.timed import Timed
from tests.serve.fakes import WAIT_S, FakeEngine, make_shared

FAST = RunTimes({1: 0.01, 2: 0.02, 4: 0.04, 8: 0.08})
SLOW = RunTimes({1: 0.2, 2: 0.4})


def test_as_many_runs_go_on_at_the_same_time_as_a_way_says() -> None:
    engine, together = FakeEngine(), threading.Barrier(3)
    compute = engine.compute

    def meet(feeds: Mapping[str, Any]) -> Any:
        together.wait(WAIT_S)  # fails unless three runs are under way
        return compute(feeds)

    engine.compute = meet
    with ThreadPoolExecutor(2) as others:
        found = time_together(make_shared(engine), 0, [Way(2, 3)], others)
    assert len(engine.calls) == 3 * RUNS * ROUNDS
    assert all(len(call["task"]) == 2 for call in engine.calls)
    assert found[Way(2, 3)] > 0


def test_images_a_second_are_those_of_all_runs_and_rounds_hold_every_way_once() -> None:
    """By a clock on which runs go on one after another: nothing is won by several."""
    timed, ways = Timed(lambda rows: 0.02 * rows), [Way(1, 1), Way(2, 1), Way(1, 2), Way(2, 2)]
    with ThreadPoolExecutor(1) as others:
        found = time_together(timed.session, 0, ways, others, timed.clock)
    assert found == pytest.approx(dict.fromkeys(ways, 50.0))
    assert timed.runs == ([1] * RUNS + [2] * RUNS + [1] * 2 * RUNS + [2] * 2 * RUNS) * ROUNDS


def test_a_round_that_something_disturbed_does_not_count() -> None:
    count = 0

    def disturbed(rows: int) -> float:
        nonlocal count
        count += 1
        return 5.0 if count == RUNS + 1 else 0.1

    timed = Timed(disturbed)
    with ThreadPoolExecutor(1) as others:
        assert time_together(timed.session, 0, [Way(1, 1)], others, timed.clock) == pytest.approx({Way(1, 1): 10.0})


def test_an_engine_that_fails_is_told_when_every_run_has_ended() -> None:
    engine = FakeEngine(error=EngineError("no such device"))
    with ThreadPoolExecutor(1) as others, pytest.raises(EngineError, match="no such device"):
        time_together(make_shared(engine), 0, [Way(1, 2)], others)
    assert len(engine.calls) == 2  # the first of each, and nothing after it


def test_small_runs_are_tried_alone_and_together_and_long_ones_are_not() -> None:
    assert worth_timing(FAST, 4) == [Way(rows, at_once) for rows in (1, 2) for at_once in (1, 4)]
    assert worth_timing(FAST, 2, rows=8) == [Way(8, 1), Way(8, 2)]
    assert worth_timing(SLOW, 2) == [Way(1, 1), Way(1, 2), Way(2, 1)]
    assert worth_timing(FAST, 1) == [Way(1, 1), Way(2, 1)]


@pytest.mark.parametrize(
    ("rates", "chosen"),
    [
        ({Way(1, 1): 68.7, Way(1, 2): 96.7, Way(2, 1): 79.4, Way(2, 2): 99.7, Way(8, 1): 93.8}, (1, 2)),
        ({Way(1, 1): 25.2, Way(1, 2): 26.7, Way(2, 1): 27.1, Way(2, 2): 28.5, Way(4, 1): 28.6}, (2, 2)),
        ({Way(1, 1): 50.0, Way(1, 2): 40.5, Way(8, 1): 51.0}, (1, 1)),
        ({Way(1, 1): 500.0, Way(1, 2): 520.0, Way(8, 1): 4000.0}, (8, 1)),
    ],
)
def test_of_what_gives_nearly_the_most_the_most_and_smallest_runs_are_chosen(
    rates: dict[Way, float], chosen: tuple[int, int]
) -> None:
    assert choose(rates) == Way(*chosen)


def test_gray_images_are_asked_for_the_task_that_was_named() -> None:
    engine = FakeEngine()
    with ThreadPoolExecutor(1) as others:
        time_together(make_shared(engine), 2, [Way(2, 1)], others)
    assert all(not call["images"].any() and call["images"].shape[0] == 2 for call in engine.calls)
    assert all(len(np.unique(call["task"])) == 1 for call in engine.calls)
