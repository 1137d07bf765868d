"""export.precision.smooth: channels of unequal size share int8's range with the weight, and the product is the same."""

from __future__ import annotations

import numpy as np
import pytest

from adaptertune_deploy.export.precision.products import LEVELS
from adaptertune_deploy.export.precision.smooth import choose, factors
from tests.export.precision.graphs import random

ROWS, WEIGHT = random((64, 32)), random((32, 16), 0.2, seed=1)


def sizes_of(rows: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    return np.abs(rows).max(axis=0)


def test_an_outlying_channel_does_not_take_the_range_from_the_others() -> None:
    rows = ROWS.copy()
    rows[:, 5] *= 60
    plain = choose(rows, sizes_of(rows), [WEIGHT], (0.0,))
    found = choose(rows, sizes_of(rows), [WEIGHT])
    assert found.error < 0.5 * plain.error
    assert found.factor[5] > 5 * np.median(found.factor)
    np.testing.assert_array_equal(plain.factor, 1)


def test_the_error_is_that_of_the_products_in_int8() -> None:
    found = choose(ROWS, sizes_of(ROWS), [WEIGHT[:, :8], WEIGHT[:, 8:]])
    step = found.largest / LEVELS
    rows = np.clip(np.rint(ROWS / found.factor / step), -LEVELS, LEVELS) * step
    scaled = WEIGHT * found.factor[:, None]
    scale = np.abs(scaled).max(axis=0) / LEVELS
    product = rows @ (np.rint(scaled / scale) * scale)
    exact = ROWS @ WEIGHT
    assert found.error == pytest.approx(np.linalg.norm(product - exact) / np.linalg.norm(exact), rel=1e-3)
    assert 0.001 < found.error < 0.03


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_a_factor_changes_no_product_and_zeros_get_none(alpha: float) -> None:
    rows, weight = ROWS.copy(), WEIGHT.copy()
    rows[:, 3] = 0
    weight[7] = 0
    factor = factors(sizes_of(rows), weight, alpha)
    assert (factor > 0).all()
    assert factor[3] == factor[7] == 1
    np.testing.assert_allclose((rows / factor) @ (weight * factor[:, None]), rows @ weight, rtol=1e-4, atol=1e-5)
    if alpha == 1.0:
        usable = np.delete(np.arange(32), [3, 7])
        np.testing.assert_allclose(sizes_of(rows / factor)[usable], 1, rtol=1e-6)


def test_what_lies_on_one_side_of_zero_uses_all_of_the_range() -> None:
    rows = np.abs(ROWS).astype(np.float32) - np.float32(0.1)
    plain = choose(rows, sizes_of(rows), [WEIGHT])
    found = choose(rows, sizes_of(rows), [WEIGHT], centred=True)
    assert plain.centre == 0
    assert found.error < 0.8 * plain.error
    even = rows / found.factor
    assert found.centre - found.largest == pytest.approx(even.min(), abs=1e-5)
    assert 0.69 * even.max() < found.centre + found.largest < 1.01 * even.max()


def test_what_lies_on_both_sides_stays_about_where_it_is() -> None:
    found = choose(ROWS, sizes_of(ROWS), [WEIGHT], centred=True)
    assert abs(found.centre) < 0.3 * found.largest


def test_rows_of_zeros_give_a_scale_all_the_same() -> None:
    found = choose(np.zeros((4, 32), np.float32), np.zeros(32, np.float32), [WEIGHT])
    assert (found.largest > 0, found.error) == (True, 0)
