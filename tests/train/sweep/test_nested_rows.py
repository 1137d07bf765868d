"""train.sweep.nested_rows: one training a seed, every width of it beside the ranks that were trained by themselves."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from adaptertune_deploy.train.nested.widths import cross_validate_widths
from adaptertune_deploy.train.rank.trials import RankTrials
from adaptertune_deploy.train.sweep.nested_rows import nested_rows
from adaptertune_deploy.train.sweep.swept import NESTED
from tests.train.comparison.test_crossfit import freeze
from tests.train.points import make_folds
from tests.train.runs import RECIPE, make_run


def test_every_width_is_a_row_compared_with_the_best_rank() -> None:
    run, fold = make_run(recipe=dataclasses.replace(RECIPE, rank=4, seeds=2)), make_folds(30, 2)
    frozen, probe = freeze(run)
    trials = RankTrials(run, frozen, probe, fold, 0)
    trials.add(4)
    rows = nested_rows(run, frozen, probe, trials)
    assert [(row.rank, row.method, len(row.test_top1)) for row in rows] == [(rank, NESTED, 2) for rank in (1, 2, 4)]
    nested = dataclasses.replace(run, recipe=dataclasses.replace(run.recipe, nested=True))
    _, widths = cross_validate_widths(nested, frozen, probe, fold, 0)
    least = min(float(losses.mean()) for losses in trials.losses.values())
    for row, width in zip(rows, widths, strict=True):
        assert width.measure is not None
        assert (row.loss, row.top1) == (pytest.approx(width.measure.loss), width.measure.top1)
        assert row.loss is not None
        assert row.above == pytest.approx(row.loss - least)


def test_too_few_images_have_no_comparison() -> None:
    run, fold = make_run(recipe=dataclasses.replace(RECIPE, rank=2)), np.full(30, -1)
    fold[:19] = 0
    trials = RankTrials(run, *freeze(run), fold, 0)
    rows = nested_rows(run, *freeze(run), trials)
    assert [(row.rank, row.loss, row.above) for row in rows] == [(1, None, None), (2, None, None)]
