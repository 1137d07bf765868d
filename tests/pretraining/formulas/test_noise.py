from __future__ import annotations

import numpy as np
import pytest

from pretraining.formulas.noise import Noise

FIELD = Noise(slope=2.0, centre=4.0, stretch=1.0, direction=0.0, levels=0, cells=0)


def _roughness(noise: Noise, axis: int) -> float:
    ink = noise._field(np.random.default_rng(0), 64)
    return float(np.abs(np.diff(ink, axis=axis)).mean())


def test_a_stretched_field_is_smooth_along_its_direction() -> None:
    stretched = Noise(slope=2.0, centre=4.0, stretch=5.0, direction=0.0, levels=0, cells=0)
    assert _roughness(stretched, axis=1) < 0.5 * _roughness(stretched, axis=0)
    assert _roughness(FIELD, axis=1) == pytest.approx(_roughness(FIELD, axis=0), rel=0.2)


@pytest.mark.parametrize("levels", [2, 3])
def test_levels_cut_the_field_into_steps(levels: int) -> None:
    noise = Noise(slope=2.0, centre=4.0, stretch=1.0, direction=0.0, levels=levels, cells=0)
    assert np.unique(noise._field(np.random.default_rng(0), 32)).tolist() == [
        step / (levels - 1) for step in range(levels)
    ]


@pytest.mark.parametrize(("levels", "shades"), [(0, 200), (2, 2), (3, 12)])
def test_cells_show_distances_borders_or_flat_patches(levels: int, shades: int) -> None:
    noise = Noise(slope=2.0, centre=4.0, stretch=1.0, direction=0.0, levels=levels, cells=12)
    values = np.unique(noise._cells(np.random.default_rng(1), 64))
    assert 0 <= values.min() < values.max() <= 1
    assert len(values) >= shades if levels == 0 else len(values) <= shades


@pytest.mark.parametrize("seed", range(5))
def test_the_image_shows_it(seed: int) -> None:
    noise = Noise.sample(np.random.default_rng(seed))
    image = noise.draw(np.random.default_rng(seed), 48)
    assert image.shape == (48, 48, 3)
    assert image.std() > 5
