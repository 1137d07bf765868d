"""How much each image counts where classes differ in size."""

from __future__ import annotations

import numpy as np

from adaptertune_deploy.data.samples import Targets
from adaptertune_deploy.train.probe.head import Weights

# Classes whose sizes differ by less are treated alike: weights would add noise and change nothing.
UNEQUAL = 1.5


def are_unequal(targets: Targets) -> bool:
    """Tell whether the largest class has more than UNEQUAL times the images of the smallest that has any."""
    counts = np.unique(targets, return_counts=True)[1]
    return bool(counts.max() > UNEQUAL * counts.min())


def effective_images(weights: Weights) -> float:
    """Return how many equal images tell as much as these together: Kish's (sum w)^2 / sum w^2 (Survey Sampling, 1965).

    Args:
        weights: [images] how much each image counts, not all zero.
    """
    return float(weights.sum() ** 2 / np.square(weights).sum())


def image_weights(targets: Targets, rule: str) -> Weights | None:
    """Return each image's weight [images], 1 on average, by which every class counts the same; None for equal ones.

    Args:
        targets: [images] class indices.
        rule: "balanced", or "none" to count every image alike.
    """
    if rule == "none" or not are_unequal(targets):
        return None
    present, place, counts = np.unique(targets, return_inverse=True, return_counts=True)
    weights: Weights = (len(targets) / (len(present) * counts))[place]
    return weights
