"""train.nested.widths: the gate is that of the full width, and every width is compared with it image by image."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from adaptertune_deploy.core.adapter.nested import WidthRecord
from adaptertune_deploy.train.comparison.candidates import fit_adapters
from adaptertune_deploy.train.comparison.crossfit import cross_validate
from adaptertune_deploy.train.comparison.gate import compared_losses
from adaptertune_deploy.train.comparison.measuring import measure_adapted
from adaptertune_deploy.train.nested.widths import compare_widths, cross_validate_widths, measure_widths
from tests.train.comparison.test_crossfit import freeze
from tests.train.points import make_folds
from tests.train.runs import RECIPE, make_run

NESTED = dataclasses.replace(RECIPE, rank=4, nested=True)


def test_the_gate_is_that_of_the_full_width() -> None:
    run = make_run(recipe=NESTED)
    frozen, probe = freeze(run)
    fold = make_folds(30, 2)
    gate, widths = cross_validate_widths(run, frozen, probe, fold, 3)
    assert gate == cross_validate(run, frozen, probe, fold, 3)
    assert [width.rank for width in widths] == [1, 2, 4]
    full = widths[-1]
    assert gate.adapter is not None
    assert full.measure is not None
    assert full.temperature == gate.adapter.temperature == gate.temperature
    assert (full.measure.loss, full.measure.top1) == (gate.adapter.loss, gate.adapter.top1)
    assert (full.measure.above, full.measure.error, full.measure.images) == (0.0, 0.0, 30)


@pytest.mark.parametrize("weighted", [False, True])
def test_a_width_is_compared_with_the_full_one_image_by_image(weighted: bool) -> None:
    generator = np.random.default_rng(0)
    targets = generator.integers(0, 3, 200)
    right = 3 * np.eye(3)[targets]
    answers = {
        rank: (right + noise * generator.standard_normal(right.shape)).astype(np.float32)
        for rank, noise in ((1, 4.0), (4, 1.0))
    }
    weights = generator.uniform(0.5, 2, 200) if weighted else None
    narrow, full = compare_widths(answers, targets, weights)
    losses = {rank: compared_losses(logits, targets, weights) for rank, logits in answers.items()}
    differences = losses[1] - losses[4]
    assert narrow.measure is not None
    assert full.measure is not None
    assert narrow.measure.above == pytest.approx(differences.mean())
    assert narrow.measure.error == pytest.approx(differences.std(ddof=1) / np.sqrt(200))
    assert narrow.measure.top1 == (answers[1].argmax(axis=1) == targets).mean() < full.measure.top1
    assert narrow.temperature > full.temperature  # it knows less, so it may be less sure


def test_too_few_images_compare_nothing() -> None:
    run = make_run(recipe=NESTED)
    fold = np.full(30, -1)
    fold[:19] = 0
    gate, widths = cross_validate_widths(run, *freeze(run), fold, 0)
    assert gate.adapter is None
    assert widths == (WidthRecord(1, 1.0), WidthRecord(2, 1.0), WidthRecord(4, 1.0))


def test_the_test_images_are_answered_at_every_width_with_its_temperature() -> None:
    run = make_run(recipe=NESTED)
    frozen, probe = freeze(run)
    adapted = fit_adapters(run, frozen, probe, np.arange(30), 0, "all")
    full = measure_adapted(run, adapted, 1.5)
    widths = tuple(WidthRecord(rank, temperature) for rank, temperature in ((1, 3.0), (2, 1.0), (4, 1.5)))
    found = measure_widths(run, adapted, widths, full)
    assert [one.record for one in found] == list(widths)
    assert found[-1].test is full
    assert found[0].test.calibration.temperature == 3.0
    assert found[0].test.calibration.loss_after != found[0].test.calibration.loss_before
    assert [one.test.parameters for one in found] == [2 * (2 * 16 * rank + rank + 16) + 3 * 17 for rank in (1, 2, 4)]
