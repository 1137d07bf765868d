from __future__ import annotations

import math

import numpy as np
import pytest

from adaptertune_deploy.core.answers.significance import (
    Paired,
    Spread,
    least_difference,
    p_words,
    paired,
    student_quantile,
    wilson,
)

stats = pytest.importorskip("scipy.stats", reason="scipy is what the numbers are compared with")

# Newcombe, "Two-sided confidence intervals for the single proportion", Statistics in Medicine 17 (1998), table I,
# method 3: score without continuity correction.
PUBLISHED = {
    (81, 263): (0.2553, 0.3662),
    (15, 148): (0.0624, 0.1605),
    (0, 20): (0.0000, 0.1611),
    (1, 29): (0.0061, 0.1718),
}


@pytest.mark.parametrize("counts", PUBLISHED)
def test_a_share_has_the_published_bounds(counts: tuple[int, int]) -> None:
    assert wilson(*counts) == pytest.approx(PUBLISHED[counts], abs=5e-5)


@pytest.mark.parametrize(("hits", "images"), [(0, 1), (1, 1), (0, 37), (37, 37), (63, 74), (1, 5), (31_000, 50_000)])
def test_a_share_has_the_bounds_of_scipy(hits: int, images: int) -> None:
    expected = stats.binomtest(hits, images).proportion_ci(method="wilson")
    assert wilson(hits, images) == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize(("hits", "images"), [(-1, 3), (4, 3), (0, 0)])
def test_counts_that_can_not_be_are_refused(hits: int, images: int) -> None:
    with pytest.raises(ValueError, match="no share"):
        wilson(hits, images)


@pytest.mark.parametrize(
    ("better", "worse"), [(0, 0), (1, 0), (4, 2), (11, 6), (33, 6), (0, 40), (500, 500), (700, 500), (12, 2_000)]
)
def test_the_test_is_the_exact_binomial_one(better: int, worse: int) -> None:
    compared = Paired(better, worse, 2_500)
    expected = stats.binomtest(better, better + worse).pvalue if better + worse else 1.0
    assert compared.p == pytest.approx(expected, rel=1e-10)
    assert Paired(worse, better, 2_500).p == compared.p


@pytest.mark.parametrize(("better", "worse"), [(1_000_000, 1_000_000), (501_500, 500_000), (10_100, 9_900)])
def test_huge_counts_are_no_trouble(better: int, worse: int) -> None:
    expected = min(1.0, 2 * stats.binom.cdf(worse, better + worse, 0.5))
    assert Paired(better, worse, 3_000_000).p == pytest.approx(expected, rel=1e-6)
    assert Paired(2_000_000, 0, 3_000_000).p == 0.0


def test_the_interval_of_a_difference() -> None:
    """Agresti and Min (2005): Wald's interval of the 2 x 2 table with half an image more in each of its four cells."""
    for better, worse, images in ((11, 6, 133), (0, 0, 74), (5, 9, 133), (120, 51, 500)):
        table = np.array([[images - better - worse, worse], [better, 0]]) + 0.5
        shares = table / table.sum()
        gain = shares[1, 0] - shares[0, 1]
        variance = (shares[1, 0] + shares[0, 1] - gain**2) / table.sum()
        found = Paired(better, worse, images)
        assert found.interval == pytest.approx(stats.norm(gain, math.sqrt(variance)).interval(0.95), abs=1e-12)
        assert found.interval[0] < found.gain < found.interval[1]
    assert Paired(1, 0, 1).interval[1] == 1.0


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    cells = generator.multinomial(150, [0.1, 0.05, 0.85], size=4_000)
    inside = [low <= 0.05 <= high for low, high in (Paired(int(b), int(w), 150).interval for b, w, _ in cells)]
    assert 0.94 < np.mean(inside) < 0.975


@pytest.mark.parametrize(
    ("better", "worse", "words"),
    [
        (11, 6, "11 images better, 6 worse: no difference shown (p = 0.33)"),
        (33, 6, "33 images better, 6 worse: better (p = 0.00001)"),
        (9, 23, "9 images better, 23 worse: worse (p = 0.02)"),
        (1, 0, "1 image better, 0 worse: no difference shown (p = 1)"),
        (5, 0, "5 images better, 0 worse: no difference shown (p = 0.062)"),
        (0, 6, "0 images better, 6 worse: worse (p = 0.031)"),
        (1_200, 900, "1,200 images better, 900 worse: better (p < 0.00001)"),
    ],
)
def test_a_difference_is_called_one_only_where_the_test_shows_it(better: int, worse: int, words: str) -> None:
    assert Paired(better, worse, 2_500).words == words


def test_answers_are_compared_image_by_image() -> None:
    first, second = np.array([1, 1, 0, 0, 1], dtype=bool), np.array([1, 0, 1, 0, 0], dtype=bool)
    assert paired(first, second) == Paired(better=1, worse=2, images=5)
    assert paired(first, second).gain == pytest.approx(second.mean() - first.mean())
    with pytest.raises(ValueError, match="shorter"):
        paired(first, second[:4])
    with pytest.raises(ValueError, match="can't be"):
        paired([], [])


def test_six_images_are_the_least_that_show_anything() -> None:
    assert stats.binomtest(0, 5).pvalue > 0.05 > stats.binomtest(0, 6).pvalue
    assert least_difference() == 6


@pytest.mark.parametrize(
    ("p", "words"), [(1.0, "p = 1"), (0.0499, "p = 0.05"), (0.00123, "p = 0.0012"), (9.9e-5, "p = 0.00010")]
)
def test_a_p_value_in_words(p: float, words: str) -> None:
    assert p_words(p) == words


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 9, 10, 29, 100, 1001])
def test_quantiles_of_students_distribution(freedom: int) -> None:
    assert student_quantile(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-9)


def test_two_or_three_seeds_have_a_range() -> None:
    spread = Spread((0.80, 0.84, 0.83))
    assert (spread.method, spread.bounds) == ("range", (0.80, 0.84))
    assert spread.mean == pytest.approx(0.8233333)
    assert spread.deviation == pytest.approx(np.std([0.80, 0.84, 0.83], ddof=1))


def test_four_seeds_have_an_interval() -> None:
    values = (0.80, 0.84, 0.83, 0.82)
    spread = Spread(values)
    error = stats.sem(values)
    assert spread.method == "t"
    assert spread.bounds == pytest.approx(stats.t(3, np.mean(values), error).interval(0.95), abs=1e-12)


def test_one_seed_has_no_spread() -> None:
    with pytest.raises(ValueError, match="1 seeds have no spread"):
        Spread((0.8,))
