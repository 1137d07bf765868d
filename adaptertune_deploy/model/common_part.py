"""What all tasks share of a backbone whose adapters lie in its last blocks: everything before the first adapter."""

from __future__ import annotations

from typing import Any

from timm.models.vision_transformer import VisionTransformer
from torch import Tensor


def has_common_part(network: object) -> bool:
    """Return whether a network runs as timm's Vision Transformer does: a stem, its blocks in turn, a norm."""
    return isinstance(network, VisionTransformer) and (
        type(network).forward_features is VisionTransformer.forward_features
    )


def common_tokens(network: Any, images: Tensor, block: int) -> Tensor:
    """Return the output (batch, tokens, width) of a block, before any adapter, for images (batch, 3, H, W)."""
    x = network._pos_embed(network.patch_embed(images))
    tokens: Tensor = network.blocks[: block + 1](network.norm_pre(network.patch_drop(x)))
    return tokens


def features_after(network: Any, tokens: Tensor, block: int) -> Tensor:
    """Return the pooled features (batch, features) that follow from a block's output, its adapter's included."""
    features: Tensor = network.forward_head(network.norm(network.blocks[block + 1 :](tokens)), pre_logits=True)
    return features
