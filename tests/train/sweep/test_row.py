"""train.sweep.row: a row's parts by hand."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from adaptertune_deploy.train.sweep.row import compare_row, make_row
from adaptertune_deploy.train.sweep.swept import ADAPTER, NESTED
from tests.train.outcome.measured_values import make_measure

TESTS = [make_measure(right, 100) for right in (80, 90)]


def test_a_row_has_the_measures_of_every_seed_and_no_comparison() -> None:
    row = make_row(4, TESTS, NESTED)
    assert (row.rank, row.method, row.parameters) == (4, NESTED, TESTS[0].parameters)
    assert row.test_top1 == (0.8, 0.9)
    assert row.test_loss == tuple(test.scores.loss for test in TESTS)
    assert (row.loss, row.top1, row.above, row.error) == (None, None, None, None)
    assert make_row(4, TESTS).method == ADAPTER


def test_it_is_compared_with_the_best_rank_image_by_image() -> None:
    best, losses = np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.3, 0.2, 0.5, 0.4])
    trials: Any = SimpleNamespace(losses={0: best + 1, 8: best})
    one: Any = SimpleNamespace(top1=0.75)
    row = compare_row(make_row(4, TESTS), (one, losses), trials)
    assert (row.loss, row.top1) == (pytest.approx(0.35), 0.75)
    assert row.above == pytest.approx(0.1)
    assert row.error == pytest.approx(np.std(losses - best, ddof=1) / math.sqrt(4))
