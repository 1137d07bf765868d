from __future__ import annotations

import numpy as np
import pytest

from pretraining.formulas.grating import Grating, Wave


def _spectrum(grating: Grating) -> np.ndarray:
    ink = grating._ink(np.random.default_rng(0), 64)
    assert 0 <= ink.min() <= ink.max() <= 1
    return np.abs(np.fft.fft2(ink - ink.mean()))


@pytest.mark.parametrize(("direction", "axis"), [(0.0, 1), (np.pi / 2, 0)])
def test_a_wave_has_its_cycles_along_its_direction(direction: float, axis: int) -> None:
    spectrum = _spectrum(Grating((Wave(8.0, direction, 1.0, False),), product=False, window=0.0, bend=0.0))
    peak = np.unravel_index(spectrum[:32, :32].argmax(), (32, 32))
    assert peak[axis] == pytest.approx(8, rel=0.2)
    assert peak[1 - axis] <= 2


def test_a_window_darkens_the_border() -> None:
    ink = Grating((Wave(6.0, 0.5, 1.0, False),), product=False, window=0.25, bend=0.0)._ink(
        np.random.default_rng(0), 64
    )
    assert ink[[0, -1]].max() < 0.05 < ink.max()


@pytest.mark.parametrize("seed", range(5))
def test_the_image_shows_it(seed: int) -> None:
    grating = Grating.sample(np.random.default_rng(seed))
    image = grating.draw(np.random.default_rng(seed), 48)
    assert image.shape == (48, 48, 3)
    assert image.std() > 5
