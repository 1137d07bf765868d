"""Both candidates fitted on all training images and measured on the test images, which each looks at once."""

from __future__ import annotations

import numpy as np

from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.data.samples import Targets
from adaptertune_deploy.train.comparison.candidates import Adapted, Frozen, frozen_features
from adaptertune_deploy.train.evaluation.evaluate import outputs
from adaptertune_deploy.train.loop import proofs
from adaptertune_deploy.train.outcome.measured import Calibration, Measure
from adaptertune_deploy.train.outcome.scores import score
from adaptertune_deploy.train.probe.class_weights import image_weights
from adaptertune_deploy.train.probe.probe import Probe, fit_probe
from adaptertune_deploy.train.run import Run

# Folds that choose the probe's penalty: its fits take moments, so it always gets as many as that.
PROBE_FOLDS = 5


def fit_head_alone(run: Run) -> tuple[Frozen, Probe]:
    """Return the frozen features of all training images and the careful probe on them."""
    features, targets = frozen_features(run, "train")
    weights = image_weights(targets, run.recipe.class_weights)
    probe = fit_probe(
        features, targets, len(run.task.labels), run.fold(PROBE_FOLDS, "probe"), weights, progress=run.progress
    )
    return Frozen(features, targets, weights), probe


def measure_head_alone(run: Run, probe: Probe) -> Measure:
    """Return the careful probe on the test images."""
    features, targets = frozen_features(run, "test")
    parameters = probe.head.weight.size + probe.head.bias.size
    return measure(probe.head.logits(features), targets, probe.temperature, parameters)


def measure_adapted(run: Run, adapted: Adapted, temperature: float = 1.0) -> Measure:
    """Prove that the backbone did not change, and return adapters and head on the test images.

    Args:
        run: the test images and the backbone.
        adapted: adapters and head of all training images.
        temperature: that the comparison out of fold gave them; 1 where nothing was compared.

    Raises:
        TrainingError: the backbone changed.
    """
    proofs.prove_frozen(run.backbone.module, run.frozen_sha256)
    logits, targets = outputs(adapted.model, run.test_images(), run.exact, "test adapter", run.progress)
    trainable = sum(parameter.numel() for parameter in adapted.model.trainable().values())
    return measure(logits, targets, temperature, trainable)


def measure(logits: Array, targets: Targets, temperature: float, parameters: int) -> Measure:
    """Return a candidate's logits [images, classes] as they are scored: with its temperature and without."""
    before, after = score(logits, targets), score(logits / np.float32(temperature), targets)
    calibration = Calibration(temperature, before.loss, after.loss, before.calibration_error, after.calibration_error)
    return Measure(after, calibration, parameters)
