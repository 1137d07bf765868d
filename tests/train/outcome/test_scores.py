"""train.outcome.scores against scikit-learn's metrics."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import (
    balanced_accuracy_score,
    confusion_matrix,
    log_loss,
    top_k_accuracy_score,
)

from adaptertune_deploy.train.outcome.scores import calibration_error, losses, score


def make_answers(images: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    targets = generator.integers(0, classes, images).astype(np.int64)
    logits = generator.normal(size=(images, classes)) + 1.5 * np.eye(classes)[targets]
    return logits.astype(np.float32), targets


@pytest.mark.parametrize("classes", [3, 12])
def test_scores_are_those_of_scikit_learn(classes: int) -> None:
    logits, targets = make_answers(200, classes)
    found, labels = score(logits, targets), list(range(classes))
    first = logits.argmax(axis=1)
    assert found.top1 == (first == targets).mean()
    assert found.top5 == pytest.approx(
        1.0 if classes <= 5 else top_k_accuracy_score(targets, logits, k=5, labels=labels)
    )
    assert found.balanced == pytest.approx(balanced_accuracy_score(targets, first))
    assert found.loss == pytest.approx(log_loss(targets, softmax(logits, axis=1), labels=labels), rel=1e-6)
    np.testing.assert_array_equal(found.confusion, confusion_matrix(targets, first, labels=labels))
    np.testing.assert_array_equal(found.hits, first == targets)
    assert found.images == found.class_images.sum() == 200


def test_the_worst_class_is_the_first_of_lowest_accuracy_that_has_images() -> None:
    logits = 3 * np.eye(4, dtype=np.float32)[[0, 0, 1, 2, 1]]
    found = score(logits, np.array([0, 0, 1, 1, 2]))
    assert np.isnan(found.per_class[3])
    assert found.per_class[:3].tolist() == [1.0, 0.5, 0.0]
    assert found.worst_class == 2
    assert found.balanced == pytest.approx(0.5)


def test_answers_that_are_as_sure_as_they_are_right_have_no_calibration_error() -> None:
    sure = np.log(np.array([[0.75, 0.25]] * 4, dtype=np.float32))
    assert calibration_error(sure, np.array([0, 0, 0, 1])) == pytest.approx(0, abs=1e-6)
    assert calibration_error(sure, np.array([1, 1, 1, 1])) == pytest.approx(0.75)


def test_losses_stay_finite_for_the_largest_logits() -> None:
    each = losses(np.array([[3e38, -3e38], [3e38, -3e38]], dtype=np.float32), np.array([0, 1]))
    assert each[0] == 0
    assert each[1] == pytest.approx(6e38, rel=1e-6)


def test_a_class_without_an_image_has_no_accuracy() -> None:
    scores = score(np.eye(4, dtype=np.float32)[[0, 0, 2]], np.array([0, 1, 2]))
    np.testing.assert_array_equal(scores.per_class, [1.0, 0.0, 1.0, np.nan])
    assert scores.confusion.tolist() == [[1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]


def test_the_calibration_error_of_a_worked_example() -> None:
    # Three answers of confidence 0.9, two of them right, and one of confidence 0.62, wrong: bins 13 and 9 of 15.
    def row(confidence: float, answer: int) -> list[float]:
        return [float(np.log(confidence if index == answer else 1 - confidence)) for index in range(2)]

    logits = np.array([row(0.9, 0), row(0.9, 1), row(0.9, 0), row(0.62, 1)], dtype=np.float32)
    error = score(logits, np.array([0, 1, 1, 0])).calibration_error
    assert error == pytest.approx(3 / 4 * abs(2 / 3 - 0.9) + 1 / 4 * 0.62, abs=1e-6)


def expected_error(confidence: np.ndarray, hits: np.ndarray, bins: int) -> float:
    total = 0.0
    for low in np.arange(bins) / bins:
        inside = (confidence >= low) & (confidence < low + 1 / bins)
        if inside.any():
            total += inside.mean() * abs(hits[inside].mean() - confidence[inside].mean())
    return total


def test_the_calibration_error_is_the_published_sum_over_fifteen_bins() -> None:
    logits, targets = make_answers(60, 7)
    probabilities = softmax(2 * logits.astype(np.float64), axis=1)
    confidence, hits = probabilities.max(axis=1), logits.argmax(axis=1) == targets
    expected = expected_error(confidence, hits, 15)
    assert score(2 * logits, targets).calibration_error == pytest.approx(expected, rel=1e-9)
    assert all(abs(expected_error(confidence, hits, other) - expected) > 1e-3 for other in (10, 14, 16, 20))


def test_perfect_certainty_falls_into_the_last_bin() -> None:
    assert score(np.array([[100.0, -100.0]], dtype=np.float32), np.array([0])).calibration_error == 0
