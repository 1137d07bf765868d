"""Run a network over a split."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from adaptertune_deploy.core.errors import TrainingError
from adaptertune_deploy.core.progress import Progress, silent
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.data.batches.loader import Batches
from adaptertune_deploy.data.samples import Targets
from adaptertune_deploy.train.device.device import Device


@torch.no_grad()
def outputs(
    function: Callable[[Tensor], Tensor],
    loader: Batches,
    device: Device,
    what: str = "evaluate",
    progress: Progress = silent,
) -> tuple[Array, Targets]:
    """Apply a function to every image of a loader, in order.

    Args:
        function: what the loader's batches hold, images (batch, 3, H, W) say, -> (batch, values); runs under the
            device's autocast.
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
    with device.keeping_memory():
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
