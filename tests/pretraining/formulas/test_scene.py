from __future__ import annotations

import numpy as np
import pytest

from pretraining.formulas.contour import Contour
from pretraining.formulas.noise import Noise
from pretraining.formulas.scene import Part, Scene

GROUND = Noise(slope=2.0, centre=4.0, stretch=1.0, direction=0.0, levels=0, cells=0)
DISC = Contour((), corners=72, depth=0.0, rings=1, filled=True)


def _part(scale: float, hue: float) -> Part:
    return Part(DISC, 0.0, 0.0, scale, 1.0, (hue, 1.0, 1.0))


def test_later_parts_cover_earlier_ones() -> None:
    scene = Scene((_part(0.9, 0.0), _part(0.9, 1 / 3)), GROUND, horizon=0.0)
    for seed in range(5):
        red, green, _ = scene.draw(np.random.default_rng(seed), 64)[24:40, 24:40].mean(axis=(0, 1))
        assert green > 2 * red


@pytest.mark.parametrize("seed", range(10))
def test_the_first_part_is_the_largest(seed: int) -> None:
    scene = Scene.sample(np.random.default_rng(seed))
    assert 2 <= len(scene.parts) <= 5
    assert scene.parts[0].scale > max(part.scale for part in scene.parts[1:])


@pytest.mark.parametrize("seed", range(5))
def test_the_image_shows_it(seed: int) -> None:
    scene = Scene.sample(np.random.default_rng(seed))
    image = scene.draw(np.random.default_rng(seed), 48)
    assert image.shape == (48, 48, 3)
    assert image.std() > 5
