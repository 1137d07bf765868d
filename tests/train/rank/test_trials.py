"""train.rank.trials: what ranks answer is kept per image, and the gate is the one of a single training."""

from __future__ import annotations

import numpy as np
import pytest

from adaptertune_deploy.train.comparison.crossfit import cross_validate
from adaptertune_deploy.train.rank import rule
from adaptertune_deploy.train.rank.trials import RankTrials
from tests.train.comparison.test_crossfit import freeze
from tests.train.points import make_folds
from tests.train.runs import make_run


@pytest.mark.parametrize("weights", ["none", "balanced"])
def test_a_rank_is_compared_as_a_single_training_is(weights: str) -> None:
    run, fold = make_run(), make_folds(30, 2)
    fold[[3, 17]] = -1
    frozen, probe = freeze(run, weights)
    trials = RankTrials(run, frozen, probe, fold, 5)
    trials.add(4)
    assert trials.gate(4) == cross_validate(run.with_rank(4), frozen, probe, fold, 5)
    head, adapter = trials.tried()
    assert (trials.folds, trials.images) == (2, 28)
    assert (head.rank, adapter.rank) == (rule.HEAD_ONLY, 4)
    assert adapter.loss == pytest.approx(float(trials.losses[4].mean()))
    assert min(head.above, adapter.above) == 0.0


def test_too_few_images_are_not_asked() -> None:
    run = make_run()
    fold = np.full(30, -1)
    fold[:19] = 0
    trials = RankTrials(run, *freeze(run), fold, 0)
    assert not trials.enough_images
    assert trials.losses == {}
