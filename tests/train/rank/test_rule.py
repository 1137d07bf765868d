"""train.rank.rule: the smallest rank within one standard error, and the order in which ranks are tried."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptertune_deploy.train.rank.rule import FIRST, OCTAVES, Losses, following, pick, shown, to_best, within

IMAGES = 400
NOISE = np.random.default_rng(0).standard_normal((128, IMAGES))


def losses_of(means: Mapping[int, float], spread: float = 0.1) -> dict[int, Losses]:
    """Return losses of ranks with exactly these means; the differences of two ranks vary by about `spread`."""
    return {rank: mean + spread * (NOISE[rank] - NOISE[rank].mean()) for rank, mean in means.items()}


def search(means: Mapping[int, float], most: int = 7, spread: float = 0.1) -> tuple[list[int], int]:
    """Return the ranks that are tried, in their order, and the pick."""
    everything = losses_of(means, spread)
    tried, order = {0: everything[0]}, list[int]()
    while (rank := following(tried, most)) is not None:
        order.append(rank)
        tried[rank] = everything[rank]
    return order, pick(tried)


def falling(to: int, last: float = 0.3, step: float = 0.1) -> dict[int, float]:
    """Return losses that fall by `step` an octave up to rank `to`, and stay there."""
    ranks = (0, *OCTAVES)
    return {rank: last + step * max(0, ranks.index(to) - ranks.index(rank)) for rank in ranks}


def test_differences_are_taken_image_by_image() -> None:
    first, second = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.5, 2.5, 3.0, 5.0])
    above, error = to_best({8: second, 4: first})[8]
    assert above == pytest.approx(0.5)
    assert error == pytest.approx(np.std([0.5, 0.5, 0.0, 1.0], ddof=1) / 2)
    assert to_best({8: second, 4: first})[4] == (0.0, 0.0)


def test_a_rank_of_a_higher_loss_is_enough_below_one_standard_error() -> None:
    base, varied = np.zeros(4), np.array([1.0, -1.0, 1.0, -1.0])
    error = math.sqrt(4 / 3) / 2  # of the mean of four numbers that lie one from it
    for above, enough in ((0.99 * error, True), (1.01 * error, False)):
        tried = {4: base + varied + above, 8: base}
        assert within(tried) == ((4, 8) if enough else (8,))
        assert pick(tried) == (4 if enough else 8)


def test_equal_ranks_give_the_smallest() -> None:
    same = np.linspace(0, 1, 50)
    assert pick({32: same, 8: same, 0: same}) == 0
    assert within({32: same, 8: same, 0: same}) == (0, 8, 32)


def test_a_noisy_best_rank_makes_no_head_as_good_as_a_rank_that_is_shown_to_beat_it() -> None:
    base, small = np.zeros(300), 0.1 * NOISE[1, :300]
    noisy = 0.7 * NOISE[2, :300]
    tried = {0: base, 8: small - small.mean() - 0.026, 32: noisy - noisy.mean() - 0.028}
    assert within(tried) == (0, 8, 32)
    assert shown(tried) == (8,)
    assert pick(tried) == 8
    assert pick({0: base, 32: tried[32]}) == 0
    assert shown({8: base, 32: tried[8]}) == ()


def test_the_smallest_of_those_that_are_alike_is_one_that_ships() -> None:
    base, noisy = np.zeros(300), 0.3 * NOISE[2, :300]
    tried = {0: base, 8: noisy - noisy.mean() - 0.03, 32: 0.1 * (NOISE[1, :300] - NOISE[1, :300].mean()) - 0.031}
    assert within(tried) == (8, 32)
    assert shown(tried) == (32,)
    assert pick(tried) == 32


def test_below_the_least_rank_none_is_looked_at() -> None:
    worse = np.linspace(1, 2, 50)
    tried = {0: np.zeros(50), 4: worse, 8: worse, 32: worse + 1}
    assert (within(tried), pick(tried)) == ((0,), 0)
    assert (within(tried, 1), pick(tried, 1)) == ((4, 8), 4)
    assert following(tried, 4) is None
    assert following(tried, 4, 1) == 2


@pytest.mark.parametrize("planted", [0, *OCTAVES[:-1]])
def test_a_planted_rank_is_found(planted: int) -> None:
    order, picked = search(falling(planted))
    assert picked == planted
    assert order[:2] == list(FIRST)
    assert len(order) <= 4


def test_the_largest_octave_is_tried_where_the_one_below_it_is_not_enough() -> None:
    assert search(falling(64)) == ([8, 32, 16, 64], 64)
    assert search(falling(32)) == ([8, 32, 16, 64], 32)


def test_nothing_is_tried_below_where_the_head_alone_is_enough() -> None:
    assert search(falling(0)) == ([8, 32], 0)


@pytest.mark.parametrize(
    ("most", "found"), [(2, ([8, 32], 8)), (3, ([8, 32, 2], 8)), (4, ([8, 32, 2, 4], 4)), (7, ([8, 32, 2, 4], 4))]
)
def test_no_more_ranks_are_tried_than_allowed(most: int, found: tuple[list[int], int]) -> None:
    assert search(falling(4), most) == found


@given(st.lists(st.floats(0, 2), min_size=8, max_size=8), st.integers(0, 7), st.floats(0.01, 3))
def test_a_search_ends_tries_no_rank_twice_and_picks_one_that_it_tried(
    means: list[float], most: int, spread: float
) -> None:
    order, picked = search(dict(zip((0, *OCTAVES), means, strict=True)), most, spread)
    assert len(order) == len(set(order)) <= most
    assert set(order) <= set(OCTAVES)
    assert picked in {0, *order}
