from __future__ import annotations

import numpy as np
import pytest

from pretraining.formulas.fractal import PARTICLES, STEPS, Fractal

CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])


class _Exact(np.random.Generator):
    """Leaves the maps as they are and starts every particle inside the triangle."""

    def uniform(self, low: float, high: float, size: object = None) -> object:  # type: ignore[override]
        return np.full(size, (low + high) / 2)  # type: ignore[call-overload]


def test_the_chaos_game_draws_the_sierpinski_triangle() -> None:
    halves = np.broadcast_to(np.eye(2) / 2, (3, 2, 2))
    fractal = Fractal(halves, CORNERS / 2, np.full(3, 1 / 3))
    points = fractal._points(_Exact(np.random.PCG64(0)))
    assert points.shape == (PARTICLES * STEPS, 2)
    assert points.min() >= 0
    assert points.sum(axis=1).max() <= 1
    # The attractor leaves out the middle triangle, where x and y are below one half and their sum is above it.
    removed = (points < 0.5 - 1e-3).all(axis=1) & (points.sum(axis=1) > 0.5 + 1e-3)
    assert not removed.any()


@pytest.mark.parametrize("seed", range(10))
def test_every_map_contracts(seed: int) -> None:
    fractal = Fractal.sample(np.random.default_rng(seed))
    singular = np.linalg.svd(fractal.matrices, compute_uv=False)
    assert 0.2 <= singular.min() <= singular.max() <= 0.85
    assert fractal.weights.sum() == pytest.approx(1)


@pytest.mark.parametrize("seed", range(5))
def test_the_image_shows_it(seed: int) -> None:
    fractal = Fractal.sample(np.random.default_rng(seed))
    image = fractal.draw(np.random.default_rng(seed), 48)
    assert image.shape == (48, 48, 3)
    assert image.std() > 5
