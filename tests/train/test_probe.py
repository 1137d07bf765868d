"""train.probe against the stationarity of its objective, scipy's optimiser and a brute-force choice of the penalty."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from adaptertune_deploy.core.errors import TrainingError
from adaptertune_deploy.train.probe import FALLBACK_PENALTY, PENALTIES, cross_entropy, fit_probe


def make_points(classes: int, per_class: int = 20, spread: float = 1.0, seed: int = 0) -> tuple[Any, Any]:
    """Return clusters of points around corners, with channels of very different scale and an offset."""
    generator = np.random.default_rng(seed)
    targets = np.repeat(np.arange(classes), per_class)
    centres = 4 * np.eye(classes, 6)
    points = centres[targets] + spread * generator.normal(size=(len(targets), 6))
    return (points * [1, 10, 0.1, 1, 1, 1] + 3).astype(np.float32), targets.astype(np.int64)


def objective(parameters: Any, features: Any, targets: Any, classes: int, penalty: float) -> float:
    """C * summed cross-entropy + half the squared norm of the weights, on standardised features."""
    weight = parameters[: classes * features.shape[1]].reshape(classes, -1)
    logits = features @ weight.T + parameters[weight.size :]
    loss = -log_softmax(logits, axis=1)[np.arange(len(targets)), targets].sum()
    return float(penalty * loss + 0.5 * (weight**2).sum())


@pytest.mark.parametrize("penalty", [0.01, 1.0])
def test_the_head_is_the_optimum_of_its_objective(penalty: float) -> None:
    features, targets = make_points(3)
    head = fit_probe(features, targets, 3, (features, targets), penalties=(penalty,))
    wide = features.astype(np.float64)
    standard = (wide - wide.mean(axis=0)) / wide.std(axis=0)
    found = minimize(objective, np.zeros(3 * 6 + 3), (standard, targets, 3, penalty), tol=1e-10).x
    expected = softmax(standard @ found[:18].reshape(3, 6).T + found[18:], axis=1)
    np.testing.assert_allclose(softmax(head.logits(features), axis=1), expected, atol=2e-3)
    assert (head.weight.dtype, head.bias.dtype) == (np.float32, np.float32)


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_separable_points_are_told_apart_without_an_error(classes: int) -> None:
    features, targets = make_points(classes, spread=0.3)
    head = fit_probe(features, targets, classes, make_points(classes, spread=0.3, seed=1))
    fresh, wanted = make_points(classes, spread=0.3, seed=2)
    assert (head.logits(features).argmax(axis=1) == targets).all()
    assert (head.logits(fresh).argmax(axis=1) == wanted).all()
    sharp = fit_probe(features, targets, classes, (fresh, wanted), penalties=(10.0,))
    assert cross_entropy(sharp.logits(fresh), wanted) < 0.05


def test_two_classes_have_the_probabilities_of_logistic_regression() -> None:
    features, targets = make_points(2, spread=2.0)
    head = fit_probe(features, targets, 2, (features, targets), penalties=(1.0,))
    wide = features.astype(np.float64)
    standard = (wide - wide.mean(axis=0)) / wide.std(axis=0)

    def binary(parameters: Any) -> float:
        margin = (standard @ parameters[:6] + parameters[6]) * np.where(targets == 1, 1, -1)
        return float(np.logaddexp(0, -margin).sum() + 0.5 * (parameters[:6] ** 2).sum())

    found = minimize(binary, np.zeros(7), tol=1e-10).x
    expected = 1 / (1 + np.exp(-(standard @ found[:6] + found[6])))
    np.testing.assert_allclose(softmax(head.logits(features), axis=1)[:, 1], expected, atol=2e-3)


def test_the_penalty_is_the_strongest_of_those_with_the_highest_validation_accuracy() -> None:
    features, targets = make_points(3, spread=3.0)
    validation = make_points(3, spread=3.0, seed=1)
    hits = {
        penalty: (
            fit_probe(features, targets, 3, validation, (penalty,)).logits(validation[0]).argmax(axis=1)
            == validation[1]
        ).sum()
        for penalty in PENALTIES
    }
    seen: list[tuple[str, int, int]] = []
    head = fit_probe(features, targets, 3, validation, progress=lambda *step: seen.append(step))
    assert head.penalty == min(penalty for penalty in PENALTIES if hits[penalty] == max(hits.values()))
    assert head.penalty != PENALTIES[0]
    assert len(set(hits.values())) > 2
    assert seen == [("head alone", done, len(PENALTIES)) for done in range(1, len(PENALTIES) + 1)]


def test_without_validation_the_penalty_is_fixed() -> None:
    features, targets = make_points(3)
    head = fit_probe(features, targets, 3)
    assert head.penalty == FALLBACK_PENALTY
    again = fit_probe(features, targets, 3, (features, targets), penalties=(FALLBACK_PENALTY,))
    np.testing.assert_array_equal(head.weight, again.weight)


@pytest.mark.parametrize("present", [[0, 2], [1, 2, 3]])
def test_a_class_without_a_training_image_is_never_named(present: list[int]) -> None:
    features, targets = make_points(4)
    rows = np.isin(targets, present)
    head = fit_probe(features[rows], targets[rows], 5)
    assert head.weight.shape == (5, 6)
    anywhere = np.random.default_rng(1).normal(scale=100, size=(2000, 6)).astype(np.float32)
    absent = [label for label in range(5) if label not in present]
    logits = head.logits(anywhere)
    assert (logits[:, absent].max(axis=1) <= logits[:, present].max(axis=1) - 9.99).all()
    assert (head.logits(features[rows]).argmax(axis=1) == targets[rows]).mean() > 0.95


def test_a_channel_that_never_changes_does_no_harm() -> None:
    features, targets = make_points(3, spread=0.3)
    features[:, 5] = 7.0
    head = fit_probe(features, targets, 3)
    assert np.isfinite(head.weight).all()
    assert (head.logits(features).argmax(axis=1) == targets).all()


def test_one_class_is_refused() -> None:
    features, targets = make_points(2)
    with pytest.raises(TrainingError, match="holds one class only"):
        fit_probe(features[targets == 1], targets[targets == 1], 2)


def test_the_cross_entropy_is_the_textbooks_even_for_large_logits() -> None:
    logits = np.array([[1000.0, 0.0, -5.0], [0.5, 0.2, 0.1]], dtype=np.float32)
    targets = np.array([1, 2])
    expected = -log_softmax(logits.astype(np.float64), axis=1)[[0, 1], targets].mean()
    assert cross_entropy(logits, targets) == pytest.approx(expected, rel=1e-12)
    assert logits[0, 0] == 1000
