"""The embedded backbone's architecture: a small Vision Transformer for 64x64 images."""

from __future__ import annotations

from timm.models.vision_transformer import VisionTransformer

NAME = "vit_pico_patch8_64"
TAG = "atd_formula"


def create(num_classes: int = 0, patch_drop_rate: float = 0.0) -> VisionTransformer:
    """Build the network with random weights: 8 blocks of width 128, 64 tokens of 8x8 pixels, mean pooling.

    Args:
        num_classes: outputs of the head; 0 gives the pooled features, float32 [batch, 128].
        patch_drop_rate: share of the tokens left out in training mode.
    """
    return VisionTransformer(
        img_size=64,
        patch_size=8,
        embed_dim=128,
        depth=8,
        num_heads=4,
        mlp_ratio=4,
        class_token=False,
        global_pool="avg",
        num_classes=num_classes,
        patch_drop_rate=patch_drop_rate,
    )
