"""How good logits are: accuracy, loss, calibration, class by class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.data.samples import Targets

CALIBRATION_BINS = 15
Hits = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Scores:
    """How good logits are.

    images: number of images.
    top1, top5: accuracy, 0..1; top5 counts the first min(5, classes) answers.
    balanced: mean of the classes' accuracies, over the classes that have an image, 0..1.
    loss: mean cross-entropy in nats.
    calibration_error: expected calibration error with 15 bins (arXiv 1706.04599), 0..1.
    per_class: accuracy of each class, NaN for a class without an image.
    confusion: [true class, named class] counts.
    hits: [images] whether the first answer is right, in the order of the split.
    """

    images: int
    top1: float
    top5: float
    balanced: float
    loss: float
    calibration_error: float
    per_class: npt.NDArray[np.float64]
    confusion: npt.NDArray[np.int64]
    hits: Hits

    @property
    def worst_class(self) -> int:
        """The class of lowest accuracy, the first of several, among those that have an image."""
        return int(np.nanargmin(self.per_class))

    @property
    def class_images(self) -> npt.NDArray[np.int64]:
        """Number of images of each class."""
        counts: npt.NDArray[np.int64] = self.confusion.sum(axis=1)
        return counts


def score(logits: Array, targets: Targets) -> Scores:
    """Compare logits [images, classes] with targets [images]."""
    classes = logits.shape[1]
    order = np.argsort(-logits, axis=1, kind="stable")
    hits = order[:, 0] == targets
    confusion = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(confusion, (targets, order[:, 0]), 1)
    totals = confusion.sum(axis=1)
    per_class = np.full(classes, np.nan)
    np.divide(confusion.diagonal(), totals, out=per_class, where=totals > 0)
    return Scores(
        images=len(targets),
        top1=float(hits.mean()),
        top5=float((order[:, : min(5, classes)] == targets[:, None]).any(axis=1).mean()),
        balanced=float(np.nanmean(per_class)),
        loss=cross_entropy(logits, targets),
        calibration_error=calibration_error(logits, targets),
        per_class=per_class,
        confusion=confusion,
        hits=hits,
    )


def losses(logits: Array, targets: Targets) -> npt.NDArray[np.float64]:
    """Return the cross-entropy of each image, float64 [images] in nats, of logits [images, classes]."""
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=1, keepdims=True)
    picked = wide[np.arange(len(targets)), targets]
    result: npt.NDArray[np.float64] = np.log(np.exp(wide).sum(axis=1)) - picked
    return result


def cross_entropy(logits: Array, targets: Targets) -> float:
    """Return the mean cross-entropy in nats of logits [images, classes]."""
    return float(losses(logits, targets).mean())


def calibration_error(logits: Array, targets: Targets) -> float:
    """Return the expected calibration error of logits [images, classes], 15 bins of equal width, 0..1."""
    hits = logits.argmax(axis=1) == targets
    wide = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    confidence = 1.0 / np.exp(wide).sum(axis=1)
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    gaps = (abs(hits[bins == b].mean() - confidence[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins))
    return float(sum(gaps))
