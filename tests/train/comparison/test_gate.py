"""train.comparison.gate on planted candidates: useless, equal, better, better but over-confident."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.special import log_softmax

from adaptertune_deploy.train.comparison.gate import FEWEST_IMAGES, compare
from adaptertune_deploy.train.outcome.measured import ADAPTER, HEAD


def make_candidate(targets: Any, skill: float, seed: int, classes: int = 4) -> Any:
    """Return logits that favour the right class by `skill`, under noise."""
    noise = np.random.default_rng(seed).normal(size=(len(targets), classes))
    return (skill * np.eye(classes)[targets] + noise).astype(np.float32)


def make_targets(images: int = 300, classes: int = 4) -> Any:
    return np.arange(images, dtype=np.int64) % classes


def test_a_useless_adapter_never_ships() -> None:
    targets = make_targets()
    gate = compare(make_candidate(targets, 2.0, 0), make_candidate(targets, 0.0, 1), targets, 2)
    assert gate.ships == HEAD
    assert gate.gain < 0
    assert gate.standard_errors < -2


def test_a_clearly_better_adapter_ships() -> None:
    targets = make_targets()
    gate = compare(make_candidate(targets, 1.0, 0), make_candidate(targets, 3.0, 1), targets, 2)
    assert gate.ships == ADAPTER
    assert gate.standard_errors >= gate.threshold == 2.0
    assert (gate.folds, gate.images) == (2, 300)


def test_over_confidence_hides_no_gain() -> None:
    """Far too sure of itself, a better adapter has the higher loss until each candidate has its temperature."""
    targets = make_targets()
    head, adapter = make_candidate(targets, 1.0, 0), 20 * make_candidate(targets, 2.0, 1)
    gate = compare(head, adapter, targets, 2)
    assert gate.adapter is not None
    assert gate.head is not None
    assert gate.adapter.loss_before > gate.head.loss_before
    assert gate.adapter.loss < gate.head.loss
    assert gate.ships == ADAPTER


def test_the_same_answers_show_no_gain() -> None:
    targets = make_targets()
    answers = make_candidate(targets, 2.0, 0)
    gate = compare(answers, answers.copy(), targets, 3)
    assert (gate.ships, gate.gain, gate.error, gate.standard_errors) == (HEAD, 0.0, 0.0, 0.0)


def test_candidates_of_equal_skill_are_taken_for_better_as_rarely_as_two_errors_promise() -> None:
    targets = make_targets(120)
    ships = [
        compare(make_candidate(targets, 1.5, 2 * draw), make_candidate(targets, 1.5, 2 * draw + 1), targets, 2).ships
        for draw in range(300)
    ]
    # One tail beyond two standard errors holds 2.3 %; 300 draws spread by 0.9 points.
    assert ships.count(ADAPTER) <= 0.05 * len(ships)


def test_the_numbers_are_those_of_a_paired_comparison_by_hand() -> None:
    targets = make_targets(80)
    head, adapter = make_candidate(targets, 1.0, 3), make_candidate(targets, 2.0, 4)
    weights = np.random.default_rng(5).uniform(0.5, 2, 80)
    gate = compare(head, adapter, targets, 2, weights)
    assert gate.head is not None
    assert gate.adapter is not None
    share = weights / weights.mean()
    rows = np.arange(80)
    first, second = (
        -log_softmax(logits.astype(np.float64) / candidate.temperature, axis=1)[rows, targets] * share
        for logits, candidate in ((head, gate.head), (adapter, gate.adapter))
    )
    assert gate.gain == pytest.approx((first - second).mean(), rel=1e-5)
    assert gate.error == pytest.approx((first - second).std(ddof=1) / np.sqrt(80), rel=1e-5)
    assert gate.head.loss == pytest.approx(first.mean(), rel=1e-5)
    assert gate.head.top1 == (head.argmax(axis=1) == targets).mean()


def test_a_handful_of_images_decides_nothing() -> None:
    targets = make_targets(FEWEST_IMAGES - 1)
    gate = compare(make_candidate(targets, 0.0, 0), make_candidate(targets, 9.0, 1), targets, 2)
    assert (gate.ships, gate.images, gate.head, gate.adapter) == (HEAD, FEWEST_IMAGES - 1, None, None)


def test_rare_classes_weigh_what_the_weights_say() -> None:
    """The adapter is better on the common class and worse on the rare one: the user's weights decide."""
    targets = np.array([0] * 190 + [1] * 10, dtype=np.int64)
    head, adapter = make_candidate(targets, 2.0, 0, 2), make_candidate(targets, 2.0, 0, 2)
    adapter[:190] += 1.5 * np.eye(2, dtype=np.float32)[0]
    adapter[190:] -= 4.0 * np.eye(2, dtype=np.float32)[1]
    weights = np.where(targets == 1, 10.0, 10 / 19)
    assert compare(head, adapter, targets, 2).gain > 0
    assert compare(head, adapter, targets, 2, weights).gain < 0
