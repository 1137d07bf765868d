from __future__ import annotations

import numpy as np
import pytest

from adaptertune_deploy.data.sources.drawn import drawing
from adaptertune_deploy.data.sources.drawn.outlines import OUTLINES


@pytest.mark.parametrize("label", sorted(OUTLINES))
def test_an_image_follows_from_its_label_and_random_numbers(label: str) -> None:
    first, again, other = (drawing.draw(label, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.dtype == np.uint8
    assert first.shape == (64, 64, 3)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.std() > 5


@pytest.mark.parametrize("label", sorted(OUTLINES))
def test_a_figure_stays_in_the_frame_and_large_enough_to_see(label: str) -> None:
    covered = [drawing._mask(label, np.random.default_rng(seed)) for seed in range(40)]
    assert min(mask.sum() for mask in covered) > 150
    assert max(mask.mean() for mask in covered) < 0.6
    assert all(0 <= mask.min() <= mask.max() <= 1 for mask in covered)


def test_a_ring_has_a_hole() -> None:
    for seed in range(10):
        mask = drawing._mask("ring", np.random.default_rng(seed))
        rows, columns = np.nonzero(mask > 0.5)
        assert mask[round(rows.mean()), round(columns.mean())] == 0
