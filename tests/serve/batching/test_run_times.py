from __future__ import annotations

import pytest

from adaptertune_deploy.serve.batching.run_times import ROUNDS, RunTimes, time_runs
from tests.serve.batching.timed import Cost, Timed

PROPORTIONAL = RunTimes({1: 0.01, 2: 0.02, 4: 0.04, 8: 0.08})
FLAT = RunTimes({1: 0.01, 2: 0.01, 4: 0.011, 8: 0.012})


@pytest.mark.parametrize(
    ("cost", "found"),
    [
        (lambda rows: 0.018 * rows, 1),  # a CPU: nothing is won by more rows
        (lambda rows: 0.018 * rows + 0.0005, 1),  # hardly anything
        (lambda rows: 0.018 * rows + 0.004, 4),  # 45.5, 50.0, 52.6, 54.1 images a second
        (lambda rows: 0.001, 8),  # a GPU: the launch is all
        (lambda rows: 0.02 if rows <= 2 else 0.02 * rows, 2),
        (lambda rows: 0.01 * rows**1.2, 1),
    ],
)
def test_the_smallest_batch_is_found_that_has_hardly_fewer_images_a_second(cost: Cost, found: int) -> None:
    timed = Timed(cost)
    times = time_runs(timed.session, 0, 8, finds=True, clock=timed.clock)
    assert times.smallest_fast() == found
    assert times.seconds == pytest.approx({rows: cost(rows) for rows in times.seconds})
    assert times.rates[found] >= 0.95 * max(rows / cost(rows) for rows in (1, 2, 4, 8))


def test_rounds_hold_every_size_once_and_the_median_counts() -> None:
    """One run of a size that something else disturbs changes nothing."""
    count = 0

    def disturbed(rows: int) -> float:
        nonlocal count
        count += 1
        return 5.0 if count == 13 else 0.1 * rows**0.5

    timed = Timed(disturbed)
    times = time_runs(timed.session, 0, 8, finds=True, clock=timed.clock)
    assert timed.runs == [1, 1, 2, 2, 4, 4, 8, 8] + [1, 2, 4, 8] * ROUNDS[0]
    assert times.seconds == pytest.approx({rows: 0.1 * rows**0.5 for rows in (1, 2, 4, 8)})


def test_fast_runs_are_repeated_more_often_and_larger_sizes_tried_while_they_pay() -> None:
    timed = Timed(lambda rows: 1e-6 * rows)
    time_runs(timed.session, 0, 4, finds=False, clock=timed.clock)
    assert timed.runs.count(1) == 2 + ROUNDS[1]
    slow = Timed(lambda rows: 0.01 * rows**1.1)
    time_runs(slow.session, 0, 8, finds=True, clock=slow.clock)
    assert set(slow.runs) == {1, 2}


@pytest.mark.parametrize(("cost", "tried"), [(lambda rows: 0.01 * rows, {1, 2, 4}), (lambda rows: 0.01, {1, 2, 4, 6})])
def test_of_a_given_batch_only_runs_that_are_hardly_longer_matter(cost: Cost, tried: set[int]) -> None:
    timed = Timed(cost)
    assert set(time_runs(timed.session, 0, 6, finds=False, clock=timed.clock).seconds) == tried


def test_times_between_and_beyond_those_that_were_taken() -> None:
    times = RunTimes({1: 0.01, 2: 0.01, 4: 0.03})
    assert [times.of(images) for images in (1, 2, 3, 4, 8)] == pytest.approx([0.01, 0.01, 0.02, 0.03, 0.06])


def test_what_rides_along_makes_a_run_hardly_longer() -> None:
    assert [PROPORTIONAL.alongside(images, 8) for images in (1, 3, 4, 7, 8)] == [1, 3, 4, 7, 8]
    assert [FLAT.alongside(images, most) for images, most in ((1, 8), (1, 3), (4, 8), (2, 1))] == [4, 3, 8, 1]
    assert RunTimes({1: 0.01}).alongside(1, 8) == 1


def test_times_are_of_ascending_sizes_from_one_on() -> None:
    for wrong in ({}, {2: 0.1}, {1: 0.1, 4: 0.1, 2: 0.1}):
        with pytest.raises(ValueError, match="ascending"):
            RunTimes(wrong)
