"""The gate: adapters ship only where cross-validation shows that they beat the careful probe.

Both candidates answer images that they were not trained on. Trained heads are over-confident, so each candidate first
gets a temperature; then the losses are compared image by image. The mean difference must be at least two of its
standard errors, otherwise the probe ships: a rule, not a proof about images that nobody has seen.
"""

from __future__ import annotations

import math

import numpy as np

from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.data.samples import Targets
from adaptertune_deploy.train.outcome.measured import ADAPTER, HEAD, Gate, OutOfFold
from adaptertune_deploy.train.outcome.scores import losses
from adaptertune_deploy.train.probe.calibrate import fit_temperature
from adaptertune_deploy.train.probe.head import Weights

THRESHOLD = 2.0
# With fewer a standard error is itself a guess.
FEWEST_IMAGES = 20


def compare(head: Array, adapter: Array, targets: Targets, folds: int, weights: Weights | None = None) -> Gate:
    """Compare two candidates' out-of-fold logits.

    Args:
        head: logits [images, classes] of the probe, by models that were not trained on these images.
        adapter: the same of adapters and head.
        targets: [images] class indices.
        folds: how many models of each candidate answered.
        weights: [images] how much each image counts; None counts them alike.
    """
    if len(targets) < FEWEST_IMAGES:
        return untried(folds, len(targets))
    share = np.ones(len(targets)) if weights is None else weights / weights.mean()
    first, first_losses = _out_of_fold(head, targets, share)
    second, second_losses = _out_of_fold(adapter, targets, share)
    differences = share * (first_losses - second_losses)
    gain, error = float(differences.mean()), float(differences.std(ddof=1) / math.sqrt(len(targets)))
    ships = ADAPTER if gain > 0 and gain >= THRESHOLD * error else HEAD
    return Gate(folds, len(targets), first, second, gain, error, THRESHOLD, ships)


def compared_losses(logits: Array, targets: Targets, weights: Weights | None = None) -> Weights:
    """Return the losses [images] by which out-of-fold logits are compared: at a temperature of their own, weighted.

    Args:
        logits: see compare, as the others.
        targets: see there.
        weights: see there.
    """
    return judged(logits, targets, weights)[1]


def judged(logits: Array, targets: Targets, weights: Weights | None = None) -> tuple[OutOfFold, Weights]:
    """Return what out-of-fold logits are worth, and the losses of compared_losses.

    Args:
        logits: see compare, as the others.
        targets: see there.
        weights: see there.
    """
    share = np.ones(len(targets)) if weights is None else weights / weights.mean()
    found, each = _out_of_fold(logits, targets, share)
    weighted: Weights = share * each
    return found, weighted


def untried(folds: int, images: int) -> Gate:
    """Return the gate's answer where there are too few images to compare: the head ships."""
    return Gate(folds, images, None, None, 0.0, 0.0, THRESHOLD, HEAD)


def _out_of_fold(logits: Array, targets: Targets, share: Weights) -> tuple[OutOfFold, Weights]:
    temperature = fit_temperature(logits, targets, share)
    scaled = losses(logits / np.float32(temperature), targets)
    before = float(np.average(losses(logits, targets), weights=share))
    top1 = float((logits.argmax(axis=1) == targets).mean())
    return OutOfFold(temperature, before, float(np.average(scaled, weights=share)), top1), scaled
