"""train.evaluate against scikit-learn and against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss, top_k_accuracy_score

from adaptertune_deploy.core.errors import TrainingError
from adaptertune_deploy.data.loader import evaluation_loader
from adaptertune_deploy.train.device import Device
from adaptertune_deploy.train.evaluate import outputs, score
from tests.builders import make_preprocess_spec
from tests.data.builders import make_split


def make_logits(images: int = 300, classes: int = 7, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    targets = generator.integers(0, classes, images)
    logits = generator.normal(size=(images, classes)) + 1.5 * np.eye(classes)[targets]
    return logits.astype(np.float32), targets


def test_scores_agree_with_scikit_learn() -> None:
    logits, targets = make_logits()
    scores = score(logits, targets)
    probabilities = softmax(logits.astype(np.float64), axis=1)
    named = logits.argmax(axis=1)
    matrix = confusion_matrix(targets, named)
    assert scores.images == 300
    assert scores.top1 == pytest.approx(accuracy_score(targets, named))
    assert scores.top5 == pytest.approx(top_k_accuracy_score(targets, logits, k=5))
    assert scores.loss == pytest.approx(log_loss(targets, probabilities), rel=1e-6)
    np.testing.assert_array_equal(scores.confusion, matrix)
    np.testing.assert_allclose(scores.per_class, matrix.diagonal() / matrix.sum(axis=1))


def test_with_few_classes_top5_counts_all_of_them() -> None:
    logits, targets = make_logits(classes=3)
    scores = score(logits, targets)
    assert scores.top1 < 1
    assert scores.top5 == 1


def test_a_class_without_an_image_has_no_accuracy() -> None:
    scores = score(np.eye(4, dtype=np.float32)[[0, 0, 2]], np.array([0, 1, 2]))
    np.testing.assert_array_equal(scores.per_class, [1.0, 0.0, 1.0, np.nan])
    assert scores.confusion.tolist() == [[1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]


def test_the_calibration_error_of_a_worked_example() -> None:
    # Three answers of confidence 0.9, two of them right, and one of confidence 0.6, wrong: bins 13 and 9 of 15.
    def row(confidence: float, answer: int) -> list[float]:
        return [float(np.log(confidence if index == answer else 1 - confidence)) for index in range(2)]

    logits = np.array([row(0.9, 0), row(0.9, 1), row(0.9, 0), row(0.62, 1)], dtype=np.float32)
    error = score(logits, np.array([0, 1, 1, 0])).calibration_error
    assert error == pytest.approx(3 / 4 * abs(2 / 3 - 0.9) + 1 / 4 * 0.62, abs=1e-6)


def calibration_error(confidence: np.ndarray, hits: np.ndarray, bins: int) -> float:
    total = 0.0
    for low in np.arange(bins) / bins:
        inside = (confidence >= low) & (confidence < low + 1 / bins)
        if inside.any():
            total += inside.mean() * abs(hits[inside].mean() - confidence[inside].mean())
    return total


def test_the_calibration_error_is_the_published_sum_over_fifteen_bins() -> None:
    logits, targets = make_logits(60)
    probabilities = softmax(2 * logits.astype(np.float64), axis=1)
    confidence, hits = probabilities.max(axis=1), logits.argmax(axis=1) == targets
    expected = calibration_error(confidence, hits, 15)
    assert score(2 * logits, targets).calibration_error == pytest.approx(expected, rel=1e-9)
    assert all(abs(calibration_error(confidence, hits, other) - expected) > 1e-3 for other in (10, 14, 16, 20))


def test_perfect_certainty_falls_into_the_last_bin() -> None:
    assert score(np.array([[100.0, -100.0]], dtype=np.float32), np.array([0])).calibration_error == 0


def test_outputs_come_in_the_order_of_the_split() -> None:
    split = make_split([3, 4])
    loader = evaluation_loader(split, make_preprocess_spec((8, 8), 1.0), 3)
    seen: list[tuple[str, int, int]] = []
    values, targets = outputs(
        lambda images: images.mean(dim=(2, 3)),
        loader,
        Device(torch.device("cpu"), "fp32"),
        "look",
        lambda *s: seen.append(s),
    )
    expected = np.stack([np.asarray(split.image(row), dtype=np.float32).mean(axis=(0, 1)) / 255 for row in range(7)])
    spec = make_preprocess_spec((8, 8))
    np.testing.assert_allclose(values, (expected - np.array(spec.mean)) / np.array(spec.std), atol=1e-4)
    np.testing.assert_array_equal(targets, split.targets)
    assert seen == [("look", 1, 3), ("look", 2, 3), ("look", 3, 3)]


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_outputs_run_in_the_devices_precision_without_gradients_and_come_back_as_float32(
    precision: str, dtype: torch.dtype
) -> None:
    layer = torch.nn.Linear(3 * 8 * 8, 2)
    seen: list[torch.Tensor] = []

    def function(images: torch.Tensor) -> torch.Tensor:
        seen.append(layer(images.flatten(1)))
        return seen[-1]

    loader = evaluation_loader(make_split([1, 1]), make_preprocess_spec((8, 8), 1.0), 2)
    values, _ = outputs(function, loader, Device(torch.device("cpu"), precision))
    assert (seen[0].dtype, seen[0].requires_grad) == (dtype, False)
    assert values.dtype == np.float32


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_stop_the_work(value: float) -> None:
    def function(images: torch.Tensor) -> torch.Tensor:
        return images.mean(dim=(2, 3)).index_fill(0, torch.tensor([1]), value)

    loader = evaluation_loader(make_split([3, 3]), make_preprocess_spec((8, 8), 1.0), 3)
    with pytest.raises(TrainingError, match=r"^look: the network computes NaN or infinite values for 2 of 6 images; "):
        outputs(function, loader, Device(torch.device("cpu"), "fp32"), "look")
