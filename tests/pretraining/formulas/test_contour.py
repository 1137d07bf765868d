from __future__ import annotations

import numpy as np
import pytest

from pretraining.formulas.contour import Contour


def test_without_waves_the_outline_is_a_regular_polygon() -> None:
    outline = Contour((), corners=6, depth=0.0, rings=1, filled=False).outline(np.random.default_rng(0))
    sides = np.linalg.norm(outline - np.roll(outline, 1, axis=0), axis=1)
    assert sides == pytest.approx(0.75)


def test_depth_pulls_every_second_corner_inwards() -> None:
    outline = Contour((), corners=10, depth=0.4, rings=1, filled=False).outline(np.random.default_rng(0))
    radii = np.linalg.norm(outline, axis=1)
    assert radii[::2] == pytest.approx(0.75)
    assert radii[1::2] == pytest.approx(0.45)


def test_a_wave_swings_the_radius_at_its_frequency() -> None:
    outline = Contour(((3, 0.2, 0.0),), corners=72, depth=0.0, rings=1, filled=False).outline(np.random.default_rng(0))
    spectrum = np.abs(np.fft.rfft(np.linalg.norm(outline, axis=1)))
    assert spectrum[1:].argmax() == 2
    assert spectrum[3] * 2 / 72 == pytest.approx(0.2, rel=0.26)


@pytest.mark.parametrize("seed", range(5))
def test_the_image_shows_it(seed: int) -> None:
    contour = Contour.sample(np.random.default_rng(seed))
    image = contour.draw(np.random.default_rng(seed), 48)
    assert image.shape == (48, 48, 3)
    assert image.std() > 5
