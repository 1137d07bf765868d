from __future__ import annotations

import math

import pytest

from benchmarks.interval import counted, wilson

# Newcombe, "Two-sided confidence intervals for the single proportion", Statistics in Medicine 17 (1998), table I,
# method 3: score without continuity correction.
PUBLISHED = {
    (81, 263): (0.2553, 0.3662),
    (15, 148): (0.0624, 0.1605),
    (0, 20): (0.0000, 0.1611),
    (1, 29): (0.0061, 0.1718),
}


@pytest.mark.parametrize("counts", PUBLISHED)
def test_it_gives_the_published_bounds(counts: tuple[int, int]) -> None:
    assert wilson(*counts) == pytest.approx(PUBLISHED[counts], abs=5e-5)


def test_the_bounds_solve_the_equation_that_defines_them() -> None:
    """At a bound p the observed share lies z standard errors of p away."""
    for right, total in ((65, 74), (366, 408), (3, 3)):
        for bound in wilson(right, total):
            if 0 < bound < 1:
                error = math.sqrt(bound * (1 - bound) / total)
                assert abs(right / total - bound) / error == pytest.approx(1.959964, abs=1e-5)


@pytest.mark.parametrize(("right", "total"), [(-1, 3), (4, 3), (0, 0)])
def test_counts_that_can_not_be_are_refused(right: int, total: int) -> None:
    with pytest.raises(ValueError, match="no share"):
        wilson(right, total)


def test_an_accuracy_is_printed_with_its_count() -> None:
    assert counted(63 / 74, 74) == "63 = 85.1% [75.3, 91.5]"
    with pytest.raises(ValueError, match="no count"):
        counted(0.85, 74)
