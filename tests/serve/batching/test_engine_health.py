from __future__ import annotations

import pytest

from adaptertune_deploy.serve.batching import engine_health
from adaptertune_deploy.serve.batching.engine_health import FAILURES, EngineHealth


def test_failures_in_a_row_are_a_problem_until_a_run_succeeds() -> None:
    health = EngineHealth(60.0)
    for fine in (*[False] * (FAILURES - 1), True, *[False] * (FAILURES - 1)):
        health.began()
        health.ended(fine)
        assert (health.problem, health.failing) == (None, False)
    health.ended(fine=False)
    assert health.problem == f"the engine failed {FAILURES} times in a row"
    assert health.failing
    health.ended(fine=True)
    assert health.problem is None


def test_one_run_of_several_that_hangs_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(engine_health, "monotonic", lambda: now)
    health = EngineHealth(60.0)
    health.began(0)
    now = 150.0
    health.began(1)
    now = 161.0
    assert health.problem is not None
    health.ended(fine=True, instance=1)
    assert health.problem is not None
    health.began(1)
    health.ended(fine=True, instance=0)
    assert health.problem is None


@pytest.mark.case("B13", "an engine run hangs", "not ready until it ends")
def test_a_run_that_hangs_is_a_problem_until_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(engine_health, "monotonic", lambda: now)
    health = EngineHealth(60.0)
    health.began()
    now = 160.0
    assert health.problem is None
    now = 160.1
    assert health.problem == "the engine has not finished a run for more than 60 seconds"
    health.ended(fine=True)
    assert health.problem is None
