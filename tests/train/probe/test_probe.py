"""train.probe.probe against scikit-learn's own cross-validation."""

from __future__ import annotations

import numpy as np
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from adaptertune_deploy.train.probe.probe import FALLBACK_PENALTY, PENALTIES, fit_probe, out_of_fold
from tests.train.points import make_folds, make_points


def test_the_penalty_is_the_one_of_lowest_cross_validated_log_loss() -> None:
    features, targets = make_points(3, spread=3.0)
    fold = make_folds(len(targets), 5)
    probe = fit_probe(features, targets, 3, fold)
    expected = {}
    for penalty in PENALTIES:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=penalty, max_iter=1000))
        answers = cross_val_predict(model, features, targets, cv=PredefinedSplit(fold), method="predict_proba")
        expected[penalty] = log_loss(targets, answers)
    assert probe.head.penalty == min(expected, key=lambda penalty: expected[penalty])
    for penalty, loss in probe.losses.items():
        np.testing.assert_allclose(loss, expected[penalty], rtol=2e-3)
    assert PENALTIES[0] < probe.head.penalty < PENALTIES[-1]


def test_the_probe_is_near_the_best_that_any_penalty_gives_on_fresh_images() -> None:
    features, targets = make_points(4, per_class=40, spread=2.0)
    fold = make_folds(len(targets), 5)
    fresh, wanted = make_points(4, per_class=500, spread=2.0, seed=9)

    def loss(penalties: tuple[float, ...]) -> float:
        head = fit_probe(features, targets, 4, fold, penalties=penalties).head
        return float(log_loss(wanted, softmax(head.logits(fresh), axis=1)))

    each = [loss((penalty,)) for penalty in PENALTIES]
    assert loss(PENALTIES) <= 1.02 * min(each)
    assert max(each) > 1.1 * min(each)  # so the choice matters


def test_what_only_a_weak_penalty_can_see_is_found() -> None:
    """The classes differ in a small difference of two large features; the loss rises for seven penalties first."""
    generator = np.random.default_rng(1)
    targets = np.tile([0, 1], 30).astype(np.int64)
    first = generator.normal(size=(60, 1))
    second = first + 0.05 * (2 * targets[:, None] - 1) + 0.025 * generator.normal(size=(60, 1))
    probe = fit_probe(np.concatenate([first, second], axis=1).astype(np.float32), targets, 2, make_folds(60, 5))
    tried = list(probe.losses.values())
    assert tried[:7] == sorted(tried[:7])
    assert probe.head.penalty == PENALTIES[-1]
    assert min(tried) < 0.4 < 0.69 < tried[0]


def test_the_search_ends_where_the_loss_has_clearly_risen() -> None:
    features, targets = make_points(3, spread=3.0)
    probe = fit_probe(features, targets, 3, make_folds(len(targets), 5))
    tried = list(probe.losses.values())
    assert len(tried) < len(PENALTIES)
    assert all(loss > 1.05 * min(tried) for loss in tried[-3:])


def test_images_that_always_train_are_never_answered_out_of_fold() -> None:
    features, targets = make_points(3)
    fold = make_folds(len(targets), 3)
    fold[::7] = -1
    logits = out_of_fold(features, targets, 3, fold, 1.0)
    assert np.isnan(logits[fold < 0]).all()
    assert np.isfinite(logits[fold >= 0]).all()


def test_without_folds_the_fallback_is_taken_and_nothing_is_claimed() -> None:
    features, targets = make_points(2, per_class=3)
    probe = fit_probe(features, targets, 2, np.full(6, -1, dtype=np.int64))
    assert (probe.head.penalty, probe.temperature, probe.losses) == (FALLBACK_PENALTY, 1.0, {})


def test_weights_reach_both_the_fit_and_the_choice() -> None:
    features, targets = make_points(3, spread=3.0)
    rows = np.concatenate([np.flatnonzero(targets < 2), np.flatnonzero(targets == 2)[:4]])
    features, targets = features[rows], targets[rows]
    weights = np.where(targets == 2, 5.0, 1.0)
    fold = make_folds(len(targets), 4)
    even, balanced = (fit_probe(features, targets, 3, fold, given) for given in (None, weights))
    recall = [float((one.head.logits(features).argmax(axis=1)[targets == 2] == 2).mean()) for one in (even, balanced)]
    assert recall[1] > recall[0]
    assert even.losses != balanced.losses
