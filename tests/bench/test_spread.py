from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptertune_deploy.bench.spread import Spread, p99, ratios

TIMES = st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=60)


def test_spread_and_ratios() -> None:
    assert Spread.of([4.0, 1.0, 3.0, 2.0, 5.0]) == Spread(3.0, 2.0, 4.0)
    assert ratios([2.0, 6.0, 9.0], [1.0, 2.0, 3.0]) == Spread(3.0, 2.5, 3.0)
    assert str(Spread(1.0, 0.98765, 1.02)) == "1.000 [0.988, 1.020]"
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        ratios([1.0, 2.0], [1.0])


@given(TIMES)
def test_quartiles_are_numpys(values: list[float]) -> None:
    found = Spread.of(values)
    np.testing.assert_allclose((found.low, found.median, found.high), np.quantile(values, (0.25, 0.5, 0.75)))


@given(TIMES)
def test_p99_is_the_smallest_value_that_so_many_keep_to(values: list[float]) -> None:
    assert p99(values) == np.quantile(values, 0.99, method="inverted_cdf")


def test_p99_of_few_runs_is_the_slowest() -> None:
    assert p99([1.0, 3.0, 2.0]) == 3.0
    assert p99([1.0] * 99 + [5.0]) == 1.0
