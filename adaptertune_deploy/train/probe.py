"""The linear probe: the best head on frozen features, which adapters must beat and which they start from.

Starting the head at its optimum and only then training adapters follows LP-FT (arXiv 2202.10054): a random head would
first push the adapters away from the pretrained features.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from adaptertune_deploy.core.errors import TrainingError
from adaptertune_deploy.core.progress import Progress, silent
from adaptertune_deploy.core.tensors import Array

Targets = npt.NDArray[np.int64]
# Inverse strengths of the L2 penalty on standardised features, weakest penalty last.
PENALTIES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
FALLBACK_PENALTY = 0.1


@dataclass(frozen=True)
class Head:
    """A linear head: logits = features @ weight.T + bias.

    weight: [classes, features] float32.
    bias: [classes] float32.
    penalty: inverse strength of the L2 penalty that was chosen.
    """

    weight: Array
    bias: Array
    penalty: float

    def logits(self, features: Array) -> Array:
        """Return logits [images, classes] for features [images, features]."""
        return features @ self.weight.T + self.bias


def fit_probe(
    features: Array,
    targets: Targets,
    classes: int,
    validation: tuple[Array, Targets] | None = None,
    penalties: Sequence[float] = PENALTIES,
    progress: Progress = silent,
) -> Head:
    """Fit multinomial logistic regression by LBFGS, its penalty chosen by validation accuracy.

    Of penalties with equal accuracy the strongest is taken: its logits are the least sure of themselves, which leaves
    adapters that start from this head the most to learn.

    Args:
        features: [images, features] float32 of the training split.
        targets: [images] class indices.
        classes: number of classes of the task.
        validation: features and targets of the validation split; None uses FALLBACK_PENALTY.
        penalties: inverse strengths to try.
        progress: told after every fit.

    Raises:
        TrainingError: the training split has fewer than two classes.
    """
    if len(np.unique(targets)) < 2:
        raise TrainingError("the training split holds one class only; a classifier needs images of at least two")
    tried = sorted(penalties) if validation else (FALLBACK_PENALTY,)
    heads = []
    for done, penalty in enumerate(tried, start=1):
        heads.append(_fit(features, targets, classes, penalty))
        progress("head alone", done, len(tried))
    if validation is None:
        return heads[0]
    hits = [int((head.logits(validation[0]).argmax(axis=1) == validation[1]).sum()) for head in heads]
    return heads[int(np.argmax(hits))]


def cross_entropy(logits: Array, targets: Targets) -> float:
    """Return the mean cross-entropy in nats of logits [images, classes]."""
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=1, keepdims=True)
    picked = wide[np.arange(len(targets)), targets]
    return float(np.mean(np.log(np.exp(wide).sum(axis=1)) - picked))


def _fit(features: Array, targets: Targets, classes: int, penalty: float) -> Head:
    scaler = StandardScaler().fit(features)
    model = LogisticRegression(C=penalty, max_iter=1000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(scaler.transform(features), targets)
    slope, bias = model.coef_, model.intercept_
    if len(model.classes_) == 2:  # scikit-learn keeps one row for two classes: the difference of the two logits
        slope, bias = np.concatenate([-slope, slope]) / 2, np.concatenate([-bias, bias]) / 2
    weight = np.zeros((classes, features.shape[1]), dtype=np.float32)
    offset = np.full(classes, _absent_bias(bias), dtype=np.float32)
    weight[model.classes_] = slope / scaler.scale_
    offset[model.classes_] = bias - (slope / scaler.scale_) @ scaler.mean_
    return Head(weight, offset, penalty)


def _absent_bias(bias: npt.NDArray[np.float64]) -> float:
    """Return a low logit for classes without a training image, so that the probe never names them."""
    return float(bias.min()) - 10.0
