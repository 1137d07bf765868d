"""Names of the backbones that this project itself speaks of; imports nothing, so that every command can say them."""

from __future__ import annotations

# What `atd train` takes when nobody asks for another: 5.5 M parameters, pretrained on ImageNet by Facebook AI.
DEFAULT_BACKBONE = "deit_tiny_patch16_224.fb_in1k"
# Ships in the package, for a first run without a network; used only where it is asked for by name.
EMBEDDED_BACKBONE = "vit_pico_patch8_64.atd_formula"
# The tag that asks for random weights, which are for tests.
RANDOM_TAG = "random"
# What the names of timm's plain Vision Transformers begin with: one sequence of tokens of one width through all blocks.
FAMILIES = ("vit", "deit", "eva", "beit", "flexivit", "naflexvit", "xcit", "cait", "convit", "aimv2")
CHOOSE = (
    f"choose a plain Vision Transformer, one whose timm name begins with {', '.join(FAMILIES[:-1])} or {FAMILIES[-1]}"
)
