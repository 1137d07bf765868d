"""Temperature scaling (arXiv 1706.04599): one number that makes confidence honest and changes no answer."""

from __future__ import annotations

import math

import numpy as np

from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.data.samples import Targets
from adaptertune_deploy.train.outcome.scores import losses
from adaptertune_deploy.train.probe.class_weights import effective_images
from adaptertune_deploy.train.probe.head import Weights

LOWEST, HIGHEST = 0.05, 20.0


def fit_temperature(logits: Array, targets: Targets, weights: Weights | None = None) -> float:
    """Return the temperature of lowest log-loss, by which logits are to be divided, between LOWEST and HIGHEST.

    The logarithm of the temperature has a normal prior of width 1, which counts as much as one image: without it a few
    images that all happen to be right would ask for answers of boundless confidence. Of images that count unequally
    the effective number is set against it: three that count for a whole class are three, however large the others are.

    Args:
        logits: [images, classes], of images that the model was not trained on.
        targets: [images] class indices.
        weights: [images] how much each image counts; None counts them alike.
    """
    from scipy.optimize import minimize_scalar

    images = len(targets) if weights is None else effective_images(weights)

    def objective(log_temperature: float) -> float:
        each = losses(logits / np.float32(math.exp(log_temperature)), targets)
        return float(np.average(each, weights=weights)) + log_temperature**2 / (2 * images)

    # The loss is convex in 1/T, so it has one valley in log T.
    found = minimize_scalar(objective, bounds=(math.log(LOWEST), math.log(HIGHEST)), method="bounded")
    return math.exp(float(found.x))
