"""benchmarks.ranks.cheaper: what its committed results hold, and how the ways count and stop."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.ranks import cheaper, planted
from benchmarks.ranks.planted import STEPS, Case, Problem, cases, draw

CASE = Case(4, 400, 1.0, 1)


def test_every_way_went_through_every_case() -> None:
    if not cheaper.RESULTS.exists():
        pytest.skip("the benchmark has not been run yet: make bench-planted-rank")
    results = json.loads(cheaper.RESULTS.read_text())["cases"]
    assert [one["case"]["rank"] for one in results] == [case.rank for case in cases()]
    for one in results:
        assert list(one["found"]) == list(cheaper.WAYS)
        whole, half = one["found"]["whole"], one["found"]["half"]
        assert 2 <= whole["cost"] <= planted.MOST
        assert 2 <= 2 * half["cost"] <= planted.MOST
        assert one["found"]["nested"]["cost"] == 1


def test_a_look_changes_nothing() -> None:
    problem = draw(CASE)
    looked = planted.learn(problem, 2, 0, 20, (10, 20))
    assert torch.equal(looked[20], planted.learn(problem, 2, 0, 20, (20,))[20])
    assert torch.equal(looked[10], planted.learn(problem, 2, 0, 20, (10,))[10])
    assert not torch.equal(looked[10], looked[20])


def losing(ranks: Sequence[int], monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, tuple[int, ...]]]:
    """Let students answer with a loss that grows with the place of their rank in a list, at half and at the end."""
    asked: list[tuple[int, tuple[int, ...]]] = []

    def learn(problem: Problem, rank: int, seed: int, steps: int, looks: Sequence[int]) -> dict[int, Tensor]:
        asked.append((rank, tuple(looks)))
        return {look: torch.tensor(float(ranks.index(rank) if rank in ranks else 9) - look / steps) for look in looks}

    def losses(problem: Problem, level: Tensor) -> np.ndarray:
        return float(level) + np.random.default_rng(0).normal(0, 0.01, 500)

    monkeypatch.setattr(cheaper, "learn", learn)
    monkeypatch.setattr(cheaper, "_losses", losses)
    return asked


def test_a_rank_that_is_far_behind_after_half_costs_half(monkeypatch: pytest.MonkeyPatch) -> None:
    losing([2, 4, 8, 1, 0], monkeypatch)
    found = cheaper.stop_losers(draw(CASE))
    # 8 and then 2 are each the best so far; 32 and 1 are behind and end at half.
    assert found == cheaper.Found(2, 1 + 0.5 + 1 + 0.5)


def test_a_shorter_schedule_costs_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = losing([2, 4, 8, 1, 0], monkeypatch)
    assert cheaper.search(draw(CASE), STEPS // 4) == cheaper.Found(2, 4 / 4)
    assert asked == [(rank, (STEPS // 4,)) for rank in (0, 8, 32, 2, 1)]
