"""train.comparison.measuring: both candidates on the test images, with their temperatures."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from adaptertune_deploy.core.errors import TrainingError
from adaptertune_deploy.train.comparison.candidates import fit_adapters
from adaptertune_deploy.train.comparison.measuring import (
    PROBE_FOLDS,
    fit_head_alone,
    measure,
    measure_adapted,
    measure_head_alone,
)
from tests.train.runs import make_run


def test_the_head_alone_is_the_careful_probe_on_the_test_images() -> None:
    run = make_run()
    frozen, probe = fit_head_alone(run)
    assert frozen.features.shape == (30, 16)
    assert len(probe.losses) > 1
    assert PROBE_FOLDS == 5
    found = measure_head_alone(run, probe)
    assert found.scores.images == 12
    assert found.parameters == 3 * 16 + 3
    assert found.calibration.temperature == probe.temperature


def test_adapters_get_the_temperature_of_their_comparison() -> None:
    run = make_run()
    frozen, probe = fit_head_alone(run)
    adapted = fit_adapters(run, frozen, probe, np.arange(30), 0, "all images")
    plain = measure_adapted(run, adapted)
    warm = measure_adapted(run, adapted, 2.0)
    assert plain.calibration.temperature == 1.0
    assert warm.calibration.temperature == 2.0
    assert warm.calibration.loss_before == plain.scores.loss
    assert warm.scores.top1 == plain.scores.top1
    assert warm.parameters == plain.parameters == sum(value.numel() for value in adapted.model.trainable().values())
    with torch.no_grad():
        next(iter(run.backbone.module.parameters())).add_(1.0)
    with pytest.raises(TrainingError, match="the frozen backbone changed while training"):
        measure_adapted(run, adapted)


def test_a_measure_is_told_with_its_temperature_and_without() -> None:
    logits = np.array([[2.0, 0.0], [0.0, 2.0], [2.0, 0.0]], dtype=np.float32)
    targets = np.array([0, 1, 1])
    found = measure(logits, targets, 2.0, 7)
    losses = [np.log1p(np.exp(-margin)) for margin in (1.0, 1.0, -1.0)]
    assert found.scores.loss == pytest.approx(np.mean(losses), rel=1e-5)
    before = [np.log1p(np.exp(-margin)) for margin in (2.0, 2.0, -2.0)]
    assert found.calibration.loss_before == pytest.approx(np.mean(before), rel=1e-5)
    assert (found.scores.top1, found.parameters) == (pytest.approx(2 / 3), 7)
