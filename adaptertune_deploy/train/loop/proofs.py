"""Proofs that run in every training: the start is exact, the backbone stayed frozen, every adapter learned.

A run whose proof fails stops with an error: its numbers would look plausible and mean nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from adaptertune_deploy.core.errors import TrainingError
from adaptertune_deploy.model.adapted import AdaptedViT, pooled_features
from adaptertune_deploy.model.backbone import weights_sha256


@torch.no_grad()
def prove_start(model: AdaptedViT, images: Tensor) -> int:
    """Check in float32 that new adapters change nothing; returns the number of images compared.

    Args:
        model: before its first step, in eval mode.
        images: (batch, 3, H, W) float32, on the model's device.

    Raises:
        TrainingError: an element of the features differs.
    """
    adapted, frozen = model.features(images), pooled_features(model.backbone, images)
    if not torch.equal(adapted, frozen):
        worst = float((adapted - frozen).abs().max())
        raise TrainingError(
            f"before the first step the adapted features differ from the backbone's by {worst:.3g}, expected 0; "
            "this backbone does not compute the same twice: train it with --precision fp32 or on another device"
        )
    return len(images)


def prove_gradients(model: AdaptedViT) -> int:
    """Check after the first backward pass that every adapter's `up` got a gradient; returns their number.

    Raises:
        TrainingError: names the first block whose adapter got none, as reentrant gradient checkpointing causes.
    """
    for block, adapter in model.adapters.items():
        gradient = adapter.get_submodule("up").weight.grad
        if not isinstance(gradient, Tensor) or not bool(gradient.any()):
            raise TrainingError(
                f"the adapter after block {block} got no gradient in the first step, so it would never learn; "
                "switch gradient checkpointing off in the backbone"
            )
    return len(model.adapters)


def prove_frozen(backbone: nn.Module, sha256: str) -> int:
    """Check that no parameter or buffer of the frozen backbone changed; returns their number.

    Raises:
        TrainingError: the hash differs from the one before training.
    """
    found = weights_sha256(backbone)
    if found != sha256:
        raise TrainingError(
            f"the frozen backbone changed while training: sha256 {found[:12]}..., before {sha256[:12]}...; "
            "something outside this command wrote to its tensors"
        )
    return len(backbone.state_dict())
