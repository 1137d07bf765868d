"""The network that is pretrained: the package's own small Vision Transformer."""

from __future__ import annotations

from typing import cast

import timm
from timm.models.vision_transformer import VisionTransformer

from adaptertune_deploy.model import embedded
from adaptertune_deploy.model.names import EMBEDDED_BACKBONE

NAME, TAG = EMBEDDED_BACKBONE.split(".")
FILE = embedded.EMBEDDED_WEIGHTS.name


def create() -> VisionTransformer:
    """Build it with random weights and no classifier.

    It answers float32 [batch, 3, 64, 64] within -1..1 with its mean-pooled features, float32 [batch, 128].
    """
    return cast("VisionTransformer", timm.create_model(NAME, num_classes=0))
