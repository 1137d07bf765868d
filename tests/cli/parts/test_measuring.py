from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptertune_deploy.cli.parts import measuring
from adaptertune_deploy.core.errors import UsageError


@given(st.sets(st.integers(1, 999_999), min_size=1))
def test_a_list_of_numbers_in_any_order_is_ascending(values: set[int]) -> None:
    assert measuring.numbers("--batch", " , ".join(map(str, values))) == tuple(sorted(values))


@pytest.mark.parametrize("text", ["", ",", "1,", "1;2", "1.5", "-1", "1234567", "0", "١"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected whole numbers from 1, comma-separated"):
        measuring.numbers("--batch", text)


def test_zero_counts_where_it_means_something() -> None:
    assert measuring.numbers("--threads", "0,2", 0) == (0, 2)


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), 1e6])
def test_impossible_times_are_refused(seconds: float) -> None:
    with pytest.raises(UsageError, match="expected seconds above 0"):
        measuring.check_time(seconds)
