from __future__ import annotations

import numpy as np
import pytest

from pretraining.formulas.stroke import Glyph, _curve


def test_the_curve_passes_through_its_control_points() -> None:
    control = np.random.default_rng(0).uniform(-1, 1, (5, 2))
    curve = _curve(control)
    assert curve.shape == (32, 2)
    nearest = np.linalg.norm(curve[:, None] - control[None], axis=2).min(axis=0)
    assert nearest == pytest.approx(0)


def test_points_on_a_line_stay_on_it() -> None:
    control = np.stack([np.linspace(0, 1, 4), np.linspace(1, 3, 4)], axis=1)
    curve = _curve(control)
    assert curve[:, 1] == pytest.approx(1 + 2 * curve[:, 0])
    assert np.array_equal(_curve(control[:2]), control[:2])


@pytest.mark.parametrize("seed", range(10))
def test_a_glyph_fills_its_box(seed: int) -> None:
    points = np.concatenate(Glyph.sample(np.random.default_rng(seed)).strokes)
    assert np.abs(points).max() == pytest.approx(1)


@pytest.mark.parametrize("seed", range(5))
def test_the_image_shows_it(seed: int) -> None:
    glyph = Glyph.sample(np.random.default_rng(seed))
    image = glyph.draw(np.random.default_rng(seed), 48)
    assert image.shape == (48, 48, 3)
    assert image.std() > 5
