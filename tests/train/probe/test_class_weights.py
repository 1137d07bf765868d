"""train.probe.class_weights against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_sample_weight

from adaptertune_deploy.train.probe.class_weights import are_unequal, effective_images, image_weights


def test_every_class_counts_the_same_as_in_scikit_learn() -> None:
    targets = np.repeat([0, 2, 3], [50, 7, 3]).astype(np.int64)  # class 1 has no image
    weights = image_weights(targets, "balanced")
    assert weights is not None
    np.testing.assert_allclose(weights, compute_sample_weight("balanced", targets))
    assert weights.mean() == pytest.approx(1)
    sums = [weights[targets == target].sum() for target in (0, 2, 3)]
    np.testing.assert_allclose(sums, sums[0])


@pytest.mark.parametrize(("counts", "unequal"), [((10, 10), False), ((15, 10), False), ((16, 10), True)])
def test_small_differences_change_nothing(counts: tuple[int, int], unequal: bool) -> None:
    targets = np.repeat([0, 1], counts).astype(np.int64)
    assert are_unequal(targets) is unequal
    assert (image_weights(targets, "balanced") is not None) is unequal


def test_none_counts_every_image_alike() -> None:
    assert image_weights(np.repeat([0, 1], [200, 2]).astype(np.int64), "none") is None


def test_the_effective_number_is_the_harmonic_one_of_the_classes() -> None:
    assert effective_images(np.ones(7)) == 7
    assert effective_images(np.array([0.0, 3.0, 0.0, 3.0])) == 2
    counts = np.array([60, 10, 3])
    weights = image_weights(np.repeat([0, 1, 2], counts).astype(np.int64), "balanced")
    assert weights is not None
    assert effective_images(weights) == pytest.approx(3**2 / (1 / counts).sum())  # 20 of 73
    assert effective_images(5 * weights) == pytest.approx(effective_images(weights))
