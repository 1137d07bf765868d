from __future__ import annotations

import numpy as np
import pytest
from PIL import ImageDraw

from pretraining.formulas import plane


@pytest.mark.parametrize("seed", range(5))
def test_place_is_affine_and_keeps_the_area_times_the_scale(seed: int) -> None:
    square = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0], [0.0, 0.0]])
    a, b, c, d, middle = plane.place(square, np.random.default_rng(seed), turn=np.pi, scale=(0.5, 0.5))
    assert (a + c) / 2 == pytest.approx(middle)
    assert (b + d) / 2 == pytest.approx(middle)
    area = abs(np.linalg.det(np.stack([b - a, d - a])))
    assert area == pytest.approx(4 * 0.5**2)


def test_without_freedom_only_the_shift_remains() -> None:
    points = np.random.default_rng(0).uniform(-1, 1, (6, 2))
    placed = plane.place(points, _Middle(), turn=1.0, scale=(0.9, 1.1))  # type: ignore[arg-type]
    squeeze = np.array([1.025, 1 / 1.025])
    assert placed == pytest.approx(points * squeeze)


class _Middle:
    """Answers the middle of every range."""

    def uniform(self, low: float, high: float, size: int | None = None) -> object:
        middle = (low + high) / 2
        return middle if size is None else np.full(size, middle)


def test_ink_covers_the_area_of_the_polygon() -> None:
    drawn = plane.canvas(64)
    corners = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
    ImageDraw.Draw(drawn).polygon(plane.to_pixels(corners, 64), fill=255)
    ink = plane.to_ink(drawn)
    assert ink.shape == (64, 64)
    assert ink.dtype == np.float32
    assert ink.mean() == pytest.approx(0.25, abs=0.02)
    assert (ink[32, 32], ink[2, 2]) == (1.0, 0.0)
