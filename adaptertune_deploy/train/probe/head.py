"""A linear head on frozen features: multinomial logistic regression with an L2 penalty."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from adaptertune_deploy.core.errors import TrainingError
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.data.samples import Targets

Weights = npt.NDArray[np.float64]
MOST_ITERATIONS = 1000


@dataclass(frozen=True, eq=False)
class Head:
    """A linear head: logits = features @ weight.T + bias.

    weight: [classes, features] float32.
    bias: [classes] float32.
    penalty: inverse strength C of the L2 penalty on standardised features, as scikit-learn counts it.
    """

    weight: Array
    bias: Array
    penalty: float

    def logits(self, features: Array) -> Array:
        """Return logits [images, classes] for features [images, features]."""
        logits: Array = features @ self.weight.T + self.bias
        return logits


def fit_head(features: Array, targets: Targets, classes: int, penalty: float, weights: Weights | None = None) -> Head:
    """Fit a head by LBFGS, in one thread.

    Its products are small: more threads of NumPy's and SciPy's BLAS would wait for each other longer than they work,
    all the more beside another process. One also sums in the same order everywhere.

    Args:
        features: [images, features] float32.
        targets: [images] class indices.
        classes: number of classes of the task; one without an image gets a low logit, so that it is never named.
        penalty: see Head.
        weights: [images] how much each image's loss counts; None counts them alike.

    Raises:
        TrainingError: fewer than two classes among the targets.
    """
    if len(np.unique(targets)) < 2:
        raise TrainingError("the training images are of one class only; a classifier needs images of at least two")
    scaler = StandardScaler().fit(features)
    model = LogisticRegression(C=penalty, max_iter=MOST_ITERATIONS)
    with warnings.catch_warnings(), threadpool_limits(1, user_api="blas"):
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(scaler.transform(features), targets, sample_weight=weights)
    slope, bias = model.coef_, model.intercept_
    if len(model.classes_) == 2:  # scikit-learn keeps one row for two classes: the difference of the two logits
        slope, bias = np.concatenate([-slope, slope]) / 2, np.concatenate([-bias, bias]) / 2
    weight = np.zeros((classes, features.shape[1]), dtype=np.float32)
    offset = np.full(classes, float(bias.min()) - 10.0, dtype=np.float32)
    weight[model.classes_] = slope / scaler.scale_
    offset[model.classes_] = bias - (slope / scaler.scale_) @ scaler.mean_
    return Head(weight, offset, penalty)
