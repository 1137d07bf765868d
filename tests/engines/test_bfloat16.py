"""engines.bfloat16 against the definition: the nearest of the two neighbours that 8 bits of mantissa have."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from adaptertune_deploy.engines.bfloat16 import to_bfloat16, to_float32

FLOATS = st.floats(width=32, min_value=-(2.0**127), max_value=2.0**127)


def nearest(value: float) -> float:
    """Return the nearest number with 8 significant bits, of two equally near the even one; exact arithmetic."""
    if value == 0:
        return value
    exponent = max(math.frexp(value)[1] - 8, -133)  # the last bit's; below 2**-126 it no longer shrinks
    return float(round(Fraction(value) / Fraction(2) ** exponent) * Fraction(2) ** exponent)


@given(st.lists(FLOATS, min_size=1))
def test_values_round_to_the_nearest(values: list[float]) -> None:
    found = to_float32(to_bfloat16(np.array(values, np.float32)))
    assert found.dtype == np.float32
    assert found.tolist() == [nearest(value) for value in values]


def test_a_tie_rounds_to_even_and_shapes_are_kept() -> None:
    ties = np.array([[1 + 2**-8, 1 + 3 * 2**-8], [-1 - 2**-8, 257.0]], np.float32)
    halves = to_bfloat16(ties.T)
    assert (halves.dtype, halves.shape) == (np.uint16, (2, 2))
    assert to_float32(halves).T.tolist() == [[1.0, 1 + 2**-6], [-1.0, 256.0]]


def test_what_bfloat16_holds_comes_back() -> None:
    every = np.arange(1 << 16, dtype=np.uint32).astype(np.uint16)
    finite = every[(every >> 7) & 0xFF != 0xFF]
    assert np.array_equal(to_bfloat16(to_float32(finite)), finite)
