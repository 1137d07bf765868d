"""How sure counted answers are: intervals, paired tests, the spread of seeds; nothing but the standard library."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import NormalDist, fmean, stdev

LEVEL = 0.05
Z = NormalDist().inv_cdf(1 - LEVEL / 2)
# With fewer seeds a deviation is a guess, so that only their range is told.
FEWEST_FOR_INTERVAL = 4


def wilson(hits: int, images: int) -> tuple[float, float]:
    """Return the 95 % score interval of a share, without continuity correction; both bounds 0..1.

    Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927), 209-212.

    Args:
        hits: right answers, 0 to `images`.
        images: answers, at least 1.

    Raises:
        ValueError: counts that can't be.
    """
    if not 0 <= hits <= images or images < 1:
        raise ValueError(f"{hits} of {images} is no share")
    share = hits / images
    scale = 1 + Z * Z / images
    centre = (share + Z * Z / (2 * images)) / scale
    half = Z / scale * math.sqrt(share * (1 - share) / images + Z * Z / (4 * images * images))
    low = 0.0 if hits == 0 else centre - half
    return low, 1.0 if hits == images else centre + half


@dataclass(frozen=True)
class Paired:
    """Two models' answers to the same images, compared image by image.

    better: images that only the second model gets right.
    worse: images that only the first model gets right.
    images: all of them.
    """

    better: int
    worse: int
    images: int

    def __post_init__(self) -> None:
        if min(self.better, self.worse) < 0 or self.images < max(1, self.better + self.worse):
            raise ValueError(f"{self.better} better and {self.worse} worse of {self.images} images can't be")

    @property
    def p(self) -> float:
        """Two-sided p-value of the exact McNemar test: a fair coin decides each image on which the models differ.

        Twice the smaller tail of the binomial distribution with one half, at most 1. McNemar, "Note on the sampling
        error of the difference between correlated proportions or percentages", Psychometrika 12 (1947), 153-157.
        """
        return min(1.0, 2 * _lower_tail(min(self.better, self.worse), self.better + self.worse))

    @property
    def gain(self) -> float:
        """Accuracy of the second model minus that of the first, -1..1."""
        return (self.better - self.worse) / self.images

    @property
    def interval(self) -> tuple[float, float]:
        """Bounds of `gain`, 95 %: Wald's interval after half an image was added to each cell of the 2 x 2 table.

        Agresti and Min, "Simple improved confidence intervals for comparing matched proportions", Statistics in
        Medicine 24 (2005), 729-740. It is an approximation: where it and the exact `p` disagree, `p` counts.
        """
        better, worse, images = self.better + 0.5, self.worse + 0.5, self.images + 2
        gain = (better - worse) / images
        half = Z * math.sqrt(better + worse - (better - worse) ** 2 / images) / images
        return max(-1.0, gain - half), min(1.0, gain + half)

    @property
    def is_shown(self) -> bool:
        """Whether the test shows a difference, at the 5 % level."""
        return self.p < LEVEL

    @property
    def words(self) -> str:
        """The comparison in words: "33 images better, 6 worse: better (p = 0.00001)"."""
        counts = f"{self.better:,} image{'' if self.better == 1 else 's'} better, {self.worse:,} worse"
        verdict = "no difference shown" if not self.is_shown else "better" if self.better > self.worse else "worse"
        return f"{counts}: {verdict} ({p_words(self.p)})"


def paired(first_hits: Iterable[bool], second_hits: Iterable[bool]) -> Paired:
    """Compare two models by whether each of them answers each image rightly, images in the same order.

    Raises:
        ValueError: another number of images, or none.
    """
    better = worse = images = 0
    for first, second in zip(first_hits, second_hits, strict=True):
        better += bool(second) and not first
        worse += bool(first) and not second
        images += 1
    return Paired(better, worse, images)


def least_difference() -> int:
    """Return how many images two models must differ on before the paired test can show anything: all on one side."""
    return next(count for count in range(1, 100) if Paired(count, 0, count).is_shown)


def p_words(p: float) -> str:
    """Return a p-value as text: "p = 0.69", "p = 0.0012", "p = 0.00001" or "p < 0.00001"."""
    if p < 0.00001:
        return "p < 0.00001"
    return f"p = {p:.5f}" if p < 0.0001 else f"p = {p:.2g}"


@dataclass(frozen=True)
class Spread:
    """The same measurement with several seeds.

    values: one a seed; at least 2.
    """

    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.values) < 2:
            raise ValueError(f"{len(self.values)} seeds have no spread, expected at least 2")

    @property
    def mean(self) -> float:
        """Mean over the seeds."""
        return fmean(self.values)

    @property
    def deviation(self) -> float:
        """Sample standard deviation over the seeds (n - 1)."""
        return stdev(self.values)

    @property
    def method(self) -> str:
        """What `bounds` are: "range" of 2 or 3 seeds, "t" from 4 seeds on."""
        return "range" if len(self.values) < FEWEST_FOR_INTERVAL else "t"

    @property
    def bounds(self) -> tuple[float, float]:
        """Smallest and largest value of 2 or 3 seeds; from 4 on Student's 95 % interval of the mean.

        Either tells how much the training's own chance matters on these images, not what other images would give.
        """
        if self.method == "range":
            return min(self.values), max(self.values)
        half = student_quantile(len(self.values) - 1) * self.deviation / math.sqrt(len(self.values))
        return self.mean - half, self.mean + half


def student_quantile(freedom: int) -> float:
    """Return t with 95 % of Student's distribution between -t and t, for `freedom` degrees of freedom, at least 1."""
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _student_share(middle, freedom) < 1 - LEVEL else (low, middle)
    return math.tan(low) * math.sqrt(freedom)


def _student_share(angle: float, freedom: int) -> float:
    """Return the share of Student's distribution within tan(angle) * sqrt(freedom) of zero.

    Abramowitz and Stegun, "Handbook of Mathematical Functions" (1964), 26.7.3 and 26.7.4.
    """
    cosine, odd = math.cos(angle), freedom % 2
    term = cosine if odd else 1.0
    total = term if freedom > 1 else 0.0
    for power in range(2 + odd, freedom - 1, 2):
        term *= cosine * cosine * (power - 1) / power
        total += term
    return (2 / math.pi) * (angle + math.sin(angle) * total) if odd else math.sin(angle) * total


def _lower_tail(successes: int, trials: int) -> float:
    """Return the probability of at most `successes` heads in `trials` throws of a fair coin.

    `successes` is at most half of `trials`, so that the terms fall from the last one to the first.
    """
    log_last = math.lgamma(trials + 1) - math.lgamma(successes + 1) - math.lgamma(trials - successes + 1)
    term = total = 1.0
    for count in range(successes, 0, -1):
        term *= count / (trials - count + 1)
        total += term
        if term < total * 1e-17:
            break
    log_tail = log_last + math.log(total) - trials * math.log(2)
    return math.exp(log_tail)
