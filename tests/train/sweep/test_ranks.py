"""train.sweep.ranks: the list of ranks."""

from __future__ import annotations

import pytest

from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.train.sweep.ranks import MOST_RANKS, check_ranks


@pytest.mark.parametrize(
    ("given", "found"),
    [([8], (8,)), ([8, 2, 8, 4], (2, 4, 8)), ([0, 4], (4,)), (range(1, MOST_RANKS + 1), range(1, 17))],
)
def test_ranks_ascend_and_stand_once(given: list[int], found: tuple[int, ...]) -> None:
    assert check_ranks(given) == tuple(found)


@pytest.mark.parametrize("given", [[], [0], [-1, 4], [1 << 20], range(1, MOST_RANKS + 2)])
def test_what_is_no_list_of_ranks_is_refused(given: list[int]) -> None:
    with pytest.raises(UsageError, match=r"--ranks .*: expected 1 to 16 whole numbers from 1 to"):
        check_ranks(given)
