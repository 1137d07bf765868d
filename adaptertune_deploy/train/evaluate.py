"""Run a network over a split and say how good its answers are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from adaptertune_deploy.core.errors import TrainingError
from adaptertune_deploy.core.progress import Progress, silent
from adaptertune_deploy.core.tensors import Array
from adaptertune_deploy.data.loader import EvaluationLoader
from adaptertune_deploy.train.device import Device
from adaptertune_deploy.train.probe import Targets, cross_entropy

CALIBRATION_BINS = 15


@dataclass(frozen=True)
class Scores:
    """How good logits are.

    images: number of images.
    top1, top5: accuracy, 0..1; top5 counts the first min(5, classes) answers.
    loss: mean cross-entropy in nats.
    calibration_error: expected calibration error with 15 bins (arXiv 1706.04599), 0..1.
    per_class: accuracy of each class, NaN for a class without an image.
    confusion: [true class, named class] counts.
    """

    images: int
    top1: float
    top5: float
    loss: float
    calibration_error: float
    per_class: npt.NDArray[np.float64]
    confusion: npt.NDArray[np.int64]


@torch.no_grad()
def outputs(
    function: Callable[[Tensor], Tensor],
    loader: EvaluationLoader,
    device: Device,
    what: str = "evaluate",
    progress: Progress = silent,
) -> tuple[Array, Targets]:
    """Apply a function to every image of a loader, in order.

    Args:
        function: images (batch, 3, H, W) -> (batch, values); runs under the device's autocast.
        loader: the images.
        device: where `function` lives.
        what: name of this work for `progress`.
        progress: told after every batch.

    Returns:
        (values [images, values] float32, targets [images]).

    Raises:
        TrainingError: a value is NaN or infinite.
    """
    values, targets = [], []
    for done, batch in enumerate(loader, start=1):
        with device.autocast():
            result = function(batch.images.to(device.torch, non_blocking=True))
        values.append(result.float().cpu().numpy())
        targets.append(batch.targets.numpy())
        progress(what, done, len(loader))
    table = np.concatenate(values)
    if not np.isfinite(table).all():
        bad = int((~np.isfinite(table)).any(axis=1).sum())
        raise TrainingError(
            f"{what}: the network computes NaN or infinite values for {bad} of {len(table)} images; try a lower --lr, "
            "--precision fp32, or other --weights"
        )
    return table, np.concatenate(targets)


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
        loss=cross_entropy(logits, targets),
        calibration_error=_calibration_error(logits, hits),
        per_class=per_class,
        confusion=confusion,
    )


def _calibration_error(logits: Array, hits: npt.NDArray[np.bool_]) -> float:
    wide = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    confidence = 1.0 / np.exp(wide).sum(axis=1)
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    gaps = (abs(hits[bins == b].mean() - confidence[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins))
    return float(sum(gaps))
