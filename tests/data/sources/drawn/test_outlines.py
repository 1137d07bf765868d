from __future__ import annotations

import math

import numpy as np
import pytest

from adaptertune_deploy.data.sources.drawn.outlines import HOLES, OUTLINES


def area(points: np.ndarray) -> float:
    """Return the area inside an outline (the shoelace formula)."""
    x, y = points.T
    return float(abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) / 2)


@pytest.mark.parametrize("name", sorted(OUTLINES))
def test_an_outline_lies_around_the_centre_and_fills_its_circle(name: str) -> None:
    points = OUTLINES[name]()
    assert points.shape[1] == 2
    radii = np.hypot(*points.T)
    assert 0.85 < radii.max() < 1.2
    assert np.abs((points.max(axis=0) + points.min(axis=0)) / 2).max() < 0.3


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("square", 2.0),
        ("triangle", 3 * math.sqrt(3) / 4),
        ("hexagon", 3 * math.sqrt(3) / 2),
        ("cross", 4 * 0.64 * 0.63 + 0.64**2),
        ("circle", math.pi * 0.92**2),
        ("star", 5 * 1.05 * 0.42 * math.sin(math.pi / 5)),
        ("arrow", 1.1 * 0.48 + 0.95 * 1.36 / 2),
        ("heart", 180 * math.pi / 256),
    ],
)
def test_areas_agree_with_the_closed_form(name: str, expected: float) -> None:
    assert area(OUTLINES[name]()) == pytest.approx(expected, rel=0.01)


def test_a_hole_lies_inside_its_figure() -> None:
    assert set(HOLES) <= set(OUTLINES)
    for name, hole in HOLES.items():
        assert 0 < area(hole()) < 0.5 * area(OUTLINES[name]())


def test_a_crescent_is_a_disc_without_a_bite() -> None:
    assert 0.25 * math.pi < area(OUTLINES["crescent"]()) < 0.6 * math.pi
