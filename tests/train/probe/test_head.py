"""train.probe.head against the stationarity of its objective, scipy's optimiser and repeated points."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_info, threadpool_limits

from adaptertune_deploy.core.errors import TrainingError
from adaptertune_deploy.train.probe.head import fit_head
from tests.train.points import make_points


def objective(parameters: Any, features: Any, targets: Any, classes: int, penalty: float) -> float:
    """C * summed cross-entropy + half the squared norm of the weights, on standardised features."""
    weight = parameters[: classes * features.shape[1]].reshape(classes, -1)
    logits = features @ weight.T + parameters[weight.size :]
    loss = -log_softmax(logits, axis=1)[np.arange(len(targets)), targets].sum()
    return float(penalty * loss + 0.5 * (weight**2).sum())


def standardised(features: Any) -> Any:
    wide = features.astype(np.float64)
    return (wide - wide.mean(axis=0)) / wide.std(axis=0)


@pytest.mark.parametrize("penalty", [0.01, 1.0])
def test_the_head_is_the_optimum_of_its_objective(penalty: float) -> None:
    features, targets = make_points(3)
    head = fit_head(features, targets, 3, penalty)
    standard = standardised(features)
    found = minimize(objective, np.zeros(3 * 6 + 3), (standard, targets, 3, penalty), tol=1e-10).x
    expected = softmax(standard @ found[:18].reshape(3, 6).T + found[18:], axis=1)
    np.testing.assert_allclose(softmax(head.logits(features), axis=1), expected, atol=2e-3)
    assert (head.weight.dtype, head.bias.dtype, head.penalty) == (np.float32, np.float32, penalty)


def test_the_fit_takes_one_thread_and_gives_back_what_there_were(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[set[int]] = []
    real = LogisticRegression.fit

    def fit(self: Any, *arguments: Any, **named: Any) -> Any:
        found.append(blas_threads())
        return real(self, *arguments, **named)

    monkeypatch.setattr(LogisticRegression, "fit", fit)
    features, targets = make_points(3)
    heads = []
    for threads in (1, 2):
        with threadpool_limits(threads, user_api="blas"):
            heads.append(fit_head(features, targets, 3, 1.0))
            assert blas_threads() == {threads}
    assert found == [{1}, {1}]
    np.testing.assert_array_equal(heads[0].weight, heads[1].weight)


def blas_threads() -> set[int]:
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_two_classes_have_the_probabilities_of_logistic_regression() -> None:
    features, targets = make_points(2, spread=2.0)
    head = fit_head(features, targets, 2, 1.0)
    standard = standardised(features)

    def binary(parameters: Any) -> float:
        margin = (standard @ parameters[:6] + parameters[6]) * np.where(targets == 1, 1, -1)
        return float(np.logaddexp(0, -margin).sum() + 0.5 * (parameters[:6] ** 2).sum())

    found = minimize(binary, np.zeros(7), tol=1e-10).x
    expected = 1 / (1 + np.exp(-(standard @ found[:6] + found[6])))
    np.testing.assert_allclose(softmax(head.logits(features), axis=1)[:, 1], expected, atol=2e-3)


def test_a_weight_of_two_is_the_same_as_the_image_twice() -> None:
    features, targets = make_points(3, spread=3.0)
    weights = np.where(targets == 2, 2.0, 1.0)
    rows = np.concatenate([np.arange(len(targets)), np.flatnonzero(targets == 2)])
    # Standardise by hand: repeated rows would move mean and deviation, which weights leave alone.
    standard = standardised(features).astype(np.float32)
    weighted = fit_head(standard, targets, 3, 0.3, weights)
    found = minimize(objective, np.zeros(21), (standard[rows], targets[rows], 3, 0.3), tol=1e-10).x
    expected = softmax(standard @ found[:18].reshape(3, 6).T + found[18:], axis=1)
    np.testing.assert_allclose(softmax(weighted.logits(standard), axis=1), expected, atol=2e-3)


def test_a_class_without_an_image_is_never_named() -> None:
    features, targets = make_points(3)
    head = fit_head(features, targets, 5, 1.0)
    assert head.weight.shape == (5, 6)
    assert set(head.logits(features).argmax(axis=1)) == {0, 1, 2}


def test_images_of_one_class_are_refused() -> None:
    features, _ = make_points(2)
    with pytest.raises(TrainingError, match="one class only"):
        fit_head(features, np.zeros(len(features), dtype=np.int64), 2, 1.0)
