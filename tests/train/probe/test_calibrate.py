"""train.probe.calibrate against logits whose temperature is known and a grid."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.special import log_softmax

from adaptertune_deploy.train.probe.calibrate import HIGHEST, LOWEST, fit_temperature


def make_answers(images: int, seed: int = 0) -> tuple[Any, Any]:
    """Return honest logits and targets drawn from the very probabilities that they state."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(images, 4)) * 2
    chances = np.exp(log_softmax(logits, axis=1))
    targets = np.array([generator.choice(4, p=row) for row in chances], dtype=np.int64)
    return logits.astype(np.float32), targets


@pytest.mark.parametrize("over_confidence", [0.5, 1.0, 3.0])
def test_the_factor_that_made_answers_too_sure_is_found_again(over_confidence: float) -> None:
    logits, targets = make_answers(8000)
    found = fit_temperature(logits * np.float32(over_confidence), targets)
    assert found == pytest.approx(over_confidence, rel=0.06)


def test_no_temperature_of_a_fine_grid_does_better() -> None:
    logits, targets = make_answers(200, seed=1)
    weights = np.random.default_rng(2).uniform(0.2, 3, 200)

    def loss(temperature: float) -> float:
        picked = log_softmax(logits.astype(np.float64) / temperature, axis=1)[np.arange(200), targets]
        effective = weights.sum() ** 2 / (weights**2).sum()
        return float(np.average(-picked, weights=weights)) + np.log(temperature) ** 2 / (2 * effective)

    found = fit_temperature(logits, targets, weights)
    assert loss(found) <= min(loss(t) for t in np.geomspace(0.1, 10, 2000)) + 1e-7


def test_a_few_images_that_are_all_right_ask_for_no_boundless_confidence() -> None:
    right = 5 * np.eye(3, dtype=np.float32)
    few, wrong = fit_temperature(right, np.array([0, 1, 2])), fit_temperature(right, np.array([1, 2, 0]))
    assert LOWEST < 0.5 < few <= 1
    assert 1 < wrong < HIGHEST


def test_images_that_hardly_count_lend_the_others_no_certainty() -> None:
    logits, targets = make_answers(60, seed=3)
    few, weights = slice(0, 4), np.where(np.arange(60) < 4, 1.0, 0.0)
    assert fit_temperature(logits, targets, weights) == pytest.approx(
        fit_temperature(logits[few], targets[few]), rel=1e-4
    )


def test_images_that_count_alike_are_calibrated_as_without_weights() -> None:
    logits, targets = make_answers(200, seed=4)
    assert fit_temperature(logits, targets, np.ones(200)) == fit_temperature(logits, targets)
