"""data.batches.order: every epoch shows every image once, from any step on; shares of a batch make the whole one."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptertune_deploy.data.batches.order import Order, is_served


@given(st.integers(1, 20), st.integers(1, 9), st.integers(0, 12))
def test_every_epoch_shows_every_image_once_and_every_step_has_one_shape(
    size: int, batch_size: int, steps: int
) -> None:
    order = Order(size, batch_size, 3, steps, 0)
    batches = list(order)
    width = min(size, batch_size)
    assert [len(batch) for batch in batches] == [width] * steps
    assert len(order) == steps
    keys = list(itertools.chain.from_iterable(batches))
    for start in range(0, len(keys), size):
        epoch = keys[start : start + size]
        assert {epoch for epoch, _ in epoch} == {start // size}
        rows = [row for _, row in epoch]
        assert len(set(rows)) == len(rows)
        assert set(rows) <= set(range(size))
    for start in range(steps + 1):
        assert list(Order(size, batch_size, 3, steps, start)) == batches[start:]


@given(st.integers(1, 20), st.integers(1, 9), st.integers(1, 12))
def test_shares_of_a_batch_make_the_whole_one_and_are_nearly_equal(size: int, batch_size: int, shares: int) -> None:
    whole = list(Order(size, batch_size, 3, 4, 1))
    parts = [list(Order(size, batch_size, 3, 4, 1, (number, shares))) for number in range(shares)]
    for place, batch in enumerate(whole):
        own = [part[place] for part in parts]
        assert list(itertools.chain.from_iterable(own)) == batch
        assert max(map(len, own)) - min(map(len, own)) <= 1


def test_a_share_of_the_samples_is_served() -> None:
    served = [is_served(2, epoch, row, 1 / 3) for epoch in range(3) for row in range(500)]
    assert sum(served) / len(served) == pytest.approx(1 / 3, abs=0.03)
    assert served == [is_served(2, epoch, row, 1 / 3) for epoch in range(3) for row in range(500)]
