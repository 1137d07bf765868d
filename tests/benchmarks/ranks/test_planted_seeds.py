"""benchmarks.ranks.planted_seeds: what its committed results must show, and how picks are counted."""

from __future__ import annotations

import json

import numpy as np
import pytest

from adaptertune_deploy.train.comparison.gate import compared_losses
from adaptertune_deploy.train.rank.rule import FIRST, HEAD_ONLY
from benchmarks.ranks import planted
from benchmarks.ranks.planted import Case, draw
from benchmarks.ranks.planted_seeds import RESULTS, SEEDS, Picks, near

CASE = Case(4, 400, 1.0, 1)


def test_eight_of_ten_seeds_pick_a_rank_or_its_neighbour() -> None:
    if not RESULTS.exists():
        pytest.skip("the benchmark has not been run yet: make bench-planted-rank")
    cases = json.loads(RESULTS.read_text())["cases"]
    assert [len(one["picked"]) for one in cases] == [SEEDS] * 4
    for one in cases:
        rank = one["centre"]
        assert one["agreeing"] == near(one["picked"], rank) >= 8
        assert abs(rank - one["case"]["rank"]) <= max(1, one["case"]["rank"])


def test_neighbours_are_an_octave_apart() -> None:
    assert near((0, 1, 2, 4, 8), 2) == 3
    assert near((0, 1), 0) == 2
    picks = Picks(CASE, (4, 8, 8, 16, 32, 2), (3,) * 6)
    assert (picks.centre, picks.agreeing) == (4, 4)


def test_a_search_trains_what_it_asks_for_and_the_seed_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planted, "STEPS", 20)
    problem = draw(CASE)
    first, again, other = (planted.search(problem, seed) for seed in (1, 1, 2))
    assert list(first)[:3] == [HEAD_ONLY, *FIRST]
    assert all(np.array_equal(first[rank], again[rank]) for rank in first)
    assert not np.array_equal(first[8], other[8])
    targets = problem.labels[400:4400].numpy()
    np.testing.assert_array_equal(first[8], compared_losses(planted.answers(problem, 8, 1)[0], targets))
