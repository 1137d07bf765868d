from __future__ import annotations

import pytest

from adaptertune_deploy.core.errors import RequestError
from adaptertune_deploy.serve.batching.budget import Budget


def test_shares_come_out_of_one_budget_and_go_back() -> None:
    budget = Budget(10, "bytes")
    with budget.share() as first, budget.share() as second:
        first.grow(4)
        second.reach(5)
        second.reach(3)
        assert (budget.used, first.size, second.size) == (9, 4, 5)
        with pytest.raises(RequestError, match="9 of 10 bytes are taken and 2 more do not fit; try again") as caught:
            first.grow(2)
        assert caught.value.status == 503
        assert (budget.used, first.size) == (9, 4)
        second.grow(1)
    assert budget.used == 0


def test_an_error_gives_back_too() -> None:
    budget = Budget(10, "pixels")
    with budget.share() as share, pytest.raises(RequestError):
        share.grow(11)
    assert budget.used == 0
