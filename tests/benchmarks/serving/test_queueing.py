"""benchmarks.serving.queueing: against a queue that is played."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.serving.queueing import answered_within, percentile


@pytest.mark.parametrize("load", [0.3, 0.5, 0.8])
def test_it_is_what_a_queue_does_that_is_played(load: float) -> None:
    draw = np.random.default_rng(0)
    gaps = draw.exponential(1 / load, 400_000).tolist()
    waiting, times = 0.0, []
    for gap in gaps:
        times.append(waiting + 1)
        waiting = max(0.0, waiting + 1 - gap)
    for time in (1.0, 1.7, 3.0, 4.2):
        assert answered_within(load, time) == pytest.approx(np.mean(np.array(times) <= time), abs=0.01)
    assert percentile(load, 0.99) == pytest.approx(np.quantile(times, 0.99), rel=0.05)


def test_nobody_is_answered_sooner_than_a_request_takes() -> None:
    assert answered_within(0.5, 0.99) == 0
    assert answered_within(0.5, 1.0) == pytest.approx(0.5)
    assert percentile(0.5, 0.99) == pytest.approx(4.34, abs=0.01)
