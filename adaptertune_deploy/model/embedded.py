"""The small backbone that ships in the package, registered with timm under its own name.

`vit_pico_patch8_64.atd_formula` was pretrained by the scripts in `pretraining/` on images drawn by formulas, so it
carries nobody's licence but this project's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn
from torch import nn

from adaptertune_deploy.model.names import EMBEDDED_BACKBONE

EMBEDDED_WEIGHTS = Path(__file__).parent / "weights" / f"{EMBEDDED_BACKBONE}.safetensors"

default_cfgs = generate_default_cfgs(
    {
        EMBEDDED_BACKBONE: {
            "input_size": (3, 64, 64),
            "fixed_input_size": True,
            "crop_pct": 1.0,
            "interpolation": "bicubic",
            "mean": (0.5, 0.5, 0.5),
            "std": (0.5, 0.5, 0.5),
            "num_classes": 0,
            "first_conv": "patch_embed.proj",
            "classifier": "head",
            "license": "apache-2.0",
            "file": str(EMBEDDED_WEIGHTS),
        }
    }
)


@register_model
def vit_pico_patch8_64(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Return ViT-Pico: 64x64 pixels, patches of 8, width 128, depth 8, 4 heads, mean pooling; 1.6 M parameters."""
    shape = {
        "img_size": 64,
        "patch_size": 8,
        "embed_dim": 128,
        "depth": 8,
        "num_heads": 4,
        "class_token": False,
        "global_pool": "avg",
    }
    model: nn.Module = build_model_with_cfg(
        VisionTransformer,
        "vit_pico_patch8_64",
        pretrained,
        pretrained_filter_fn=checkpoint_filter_fn,
        **{**shape, **kwargs},
    )
    return model
