from __future__ import annotations

from adaptertune_deploy.bench.budget import LEAST, Budget
from tests.bench.planted import Clock


def test_time_runs_out_and_not_below_nothing() -> None:
    clock = Clock(100.0)
    budget = Budget(10, clock=clock)
    assert (budget.passed, budget.left) == (0, 10)
    clock.now += 4
    assert (budget.passed, budget.left) == (4, 6)
    clock.now += 40
    assert (budget.passed, budget.left) == (44, 0)


def test_rounds_end_when_their_share_is_over_and_enough_of_them_ran() -> None:
    clock = Clock()
    over = Budget(10, clock=clock).enough(0.5)
    assert not over(100)
    clock.now = 4.9
    assert not over(100)
    clock.now = 5.0
    assert [over(rounds) for rounds in (0, LEAST - 1, LEAST)] == [False, False, True]
    clock.now = 10.0
    assert [over(rounds) for rounds in (0, 1)] == [False, True]  # the whole time is over
    assert [Budget(0, clock=clock).enough(1, least=1)(rounds) for rounds in (0, 1)] == [False, True]


def test_a_person_is_told_the_stage_and_the_seconds() -> None:
    clock, told = Clock(), []
    budget = Budget(9.5, lambda what, done, total: told.append((what, done, total)), clock)
    budget.say("memory")
    clock.now = 3.7
    budget.enough(1)(0)
    clock.now = 30
    budget.say("times")
    assert told == [("measuring, memory", 0, 10), ("measuring, memory", 3, 10), ("measuring, times", 9, 10)]
