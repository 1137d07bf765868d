"""Spreads as they stand in JSON: four digits after the point."""

from __future__ import annotations

from collections.abc import Sequence

from adaptertune_deploy.bench.spread import Spread, ratios

DIGITS = 4


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return the median and the quartiles of some values."""
    return _written(Spread.of(values))


def ratio(of: Sequence[float], to: Sequence[float]) -> dict[str, float]:
    """Return the median and the quartiles of the ratios round by round."""
    return _written(ratios(of, to))


def _written(found: Spread) -> dict[str, float]:
    return {name: round(getattr(found, name), DIGITS) for name in ("median", "low", "high")}
