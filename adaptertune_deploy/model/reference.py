"""What torch answers, float32 on the CPU: what every graph must reproduce."""

from __future__ import annotations

import numpy as np
import torch

from adaptertune_deploy.core.adapter.folder import Adapter
from adaptertune_deploy.core.errors import BackboneError
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.model.adapted import AdaptedViT
from adaptertune_deploy.model.backbone import Backbone

BATCH = 8


def torch_logits(backbone: Backbone, adapter: Adapter, images: Array) -> Array:
    """Return a task's logits [N, C] for preprocessed images [N, 3, H, W], divided by its temperature.

    A backbone that lies on another device is moved to the CPU and back, so that nobody's faster arithmetic decides.

    Raises:
        BackboneError: they are not finite.
    """
    device = next(backbone.module.parameters()).device
    network = AdaptedViT(backbone, adapter.task).eval()
    network.load(adapter)
    try:
        network.to("cpu")
        with torch.no_grad():
            parts = [
                network(torch.from_numpy(images[start : start + BATCH])).numpy()
                for start in range(0, len(images), BATCH)
            ]
    finally:
        backbone.module.to(device)
    logits: Array = np.concatenate(parts)
    if not np.isfinite(logits).all():
        raise BackboneError(
            f"task '{adapter.task.name}': torch itself gives NaN or infinite logits on {backbone.spec.name}; train it "
            "again, or give other --weights"
        )
    return logits
