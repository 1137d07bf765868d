"""The careful linear probe: the best head on frozen features, which adapters must beat or make way for.

Its penalty is the one of lowest cross-validated log-loss on a wide grid, and it is then fitted on every image that may
be trained on. Accuracy on a few held-out images would choose by chance, and a probe that is never refitted would be
an easier mark than the one that a user could have had.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from adaptertune_deploy.core.progress import Progress, silent
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.data.samples import Targets
from adaptertune_deploy.train.outcome.scores import losses
from adaptertune_deploy.train.probe.calibrate import fit_temperature
from adaptertune_deploy.train.probe.head import Head, Weights, fit_head

# scikit-learn's C on standardised features, strongest penalty first: half-decades.
PENALTIES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0, 10.0, 30.0, 100.0)
# For data with too few images to hold any out.
FALLBACK_PENALTY = 0.1
# The search ends after so many losses in a row that are higher than the lowest one by this share: the bowl has been
# seen. Small rises say nothing: where only a weak penalty lets the classes be told apart, they come before the fall.
PATIENCE, RISE = 3, 0.05

Folds = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Probe:
    """A fitted probe.

    head: fitted on all images, its penalty the chosen one.
    temperature: fitted on out-of-fold logits; 1 where no image could be held out.
    losses: penalty -> cross-validated log-loss in nats, of those that were tried.
    """

    head: Head
    temperature: float
    losses: dict[float, float]


def fit_probe(
    features: Array,
    targets: Targets,
    classes: int,
    fold: Folds,
    weights: Weights | None = None,
    penalties: Sequence[float] = PENALTIES,
    progress: Progress = silent,
) -> Probe:
    """Choose the penalty by cross-validation and fit the probe on all images.

    Args:
        features: [images, features] float32, frozen, of the images as they are served.
        targets: [images] class indices.
        classes: number of classes of the task.
        fold: [images] the fold that holds each image out, -1 for images that always train (data.division.folds).
        weights: [images] how much each image's loss counts; None counts them alike.
        penalties: inverse strengths to try, ascending.
        progress: told after every penalty.

    Raises:
        TrainingError: fewer than two classes among the targets.
    """
    held = np.flatnonzero(fold >= 0)
    if not len(held):
        return Probe(fit_head(features, targets, classes, FALLBACK_PENALTY, weights), 1.0, {})
    counted = None if weights is None else weights[held]
    tried: dict[float, float] = {}
    best, best_logits = penalties[0], np.empty(0, dtype=np.float32)
    for done, penalty in enumerate(penalties, start=1):
        logits = out_of_fold(features, targets, classes, fold, penalty, weights)[held]
        tried[penalty] = float(np.average(losses(logits, targets[held]), weights=counted))
        if tried[penalty] <= min(tried.values()):
            best, best_logits = penalty, logits
        progress("linear probe", done, len(penalties) + 1)
        if len(tried) > PATIENCE and min(list(tried.values())[-PATIENCE:]) > (1 + RISE) * tried[best]:
            break
    head = fit_head(features, targets, classes, best, weights)
    progress("linear probe", len(penalties) + 1, len(penalties) + 1)
    return Probe(head, fit_temperature(best_logits, targets[held], counted), tried)


def out_of_fold(
    features: Array, targets: Targets, classes: int, fold: Folds, penalty: float, weights: Weights | None = None
) -> Array:
    """Return each image's logits [images, classes] by a head that was not fitted on it; NaN where fold is -1."""
    logits = np.full((len(targets), classes), np.nan, dtype=np.float32)
    for number in range(int(fold.max()) + 1):
        held, kept = fold == number, fold != number
        head = fit_head(features[kept], targets[kept], classes, penalty, None if weights is None else weights[kept])
        logits[held] = head.logits(features[held])
    return logits
