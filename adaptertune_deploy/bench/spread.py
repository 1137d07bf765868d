"""How times spread: a median alone says nothing of what else the machine did."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """Median with the first and third quartile."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of some values, quartiles by linear interpolation."""
        if len(values) == 1:
            return cls(values[0], values[0], values[0])
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high)

    def __str__(self) -> str:
        return f"{self.median:.3f} [{self.low:.3f}, {self.high:.3f}]"


def ratios(of: Sequence[float], to: Sequence[float]) -> Spread:
    """Return the spread of the ratios round by round."""
    return Spread.of([one / other for one, other in zip(of, to, strict=True)])


def p99(values: Sequence[float]) -> float:
    """Return the value that 99 % of the values don't exceed; of less than 100 values the largest."""
    return sorted(values)[math.ceil(0.99 * len(values)) - 1]
