"""train.sweep.full_row: full fine-tuning goes through the folds of the ranks, by its own recipe."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from adaptertune_deploy.core.spec import HEAD_ONLY
from adaptertune_deploy.train.comparison.crossfit import cross_validate
from adaptertune_deploy.train.rank.trials import RankTrials
from adaptertune_deploy.train.request.recipe import method_fields
from adaptertune_deploy.train.sweep.full_row import full_row
from tests.train.comparison.test_crossfit import freeze
from tests.train.points import make_folds
from tests.train.runs import RECIPE, make_run


def test_the_row_is_that_of_a_run_with_that_method() -> None:
    run, fold = make_run(recipe=dataclasses.replace(RECIPE, seeds=2)), make_folds(30, 2)
    frozen, probe = freeze(run)
    trials = RankTrials(run, frozen, probe, fold, 0)
    trials.add(2)
    row = full_row(run, frozen, probe, trials)
    recipe = dataclasses.replace(run.recipe, **method_fields("full"))
    full = dataclasses.replace(run, recipe=recipe, task=dataclasses.replace(run.task, adapter=HEAD_ONLY))
    gate = cross_validate(full, frozen, probe, fold, 0)
    assert gate.adapter is not None
    assert (row.method, row.rank, len(row.test_top1)) == ("full", 0, 2)
    assert row.loss == pytest.approx(gate.adapter.loss)
    assert row.top1 == gate.adapter.top1
    weights = sum(value.numel() for value in run.backbone.module.parameters())
    assert row.parameters == weights + 3 * 17
    assert set(trials.losses) == {0, 2}  # it is no rank


def test_too_few_images_have_no_comparison() -> None:
    run, fold = make_run(), np.full(30, -1)
    fold[:19] = 0
    frozen, probe = freeze(run)
    row = full_row(run, frozen, probe, RankTrials(run, frozen, probe, fold, 0))
    assert (row.loss, row.above) == (None, None)
