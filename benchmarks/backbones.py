"""Backbones and images that benchmarks share; torch and timm alone."""

from __future__ import annotations

import numpy as np
import torch

from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.model.backbone import Backbone, load_backbone

CLASSES = 37


def random_backbone(name: str) -> Backbone:
    """Return a timm model with random weights, the same on every call: speed does not depend on them."""
    torch.manual_seed(0)
    return load_backbone(f"{name}.random", allow_random=True)


def make_images(backbone: Backbone, batch: int) -> Array:
    """Return random images, float32 [N, 3, H, W]."""
    images: Array = np.random.default_rng(1).normal(size=(batch, 3, *backbone.spec.image_size)).astype(np.float32)
    return images
