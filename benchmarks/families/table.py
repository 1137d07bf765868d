"""Which backbone stands for which family, at which image sizes, and which are refused."""

from __future__ import annotations

from dataclasses import dataclass

REAL = "deit_tiny_patch16_224"


@dataclass(frozen=True)
class Family:
    """One family of Vision Transformers.

    label: what a person calls it.
    timm: the name that stands for it.
    sizes: sides of square images in pixels; the first is its own or 224. One only where timm makes it for one size.
    """

    label: str
    timm: str
    sizes: tuple[int, ...]


FAMILIES = (
    Family("ViT", "vit_tiny_patch16_224", (224, 160)),
    Family("DeiT", REAL, (224, 160)),
    Family("DeiT distilled", "deit_tiny_distilled_patch16_224", (224, 160)),
    Family("DeiT-3", "deit3_small_patch16_224", (224, 160)),
    Family("DINOv2", "vit_small_patch14_dinov2", (224, 168)),
    Family("DINOv2, registers", "vit_small_patch14_reg4_dinov2", (224, 168)),
    Family("DINOv3", "vit_small_patch16_dinov3", (256, 192)),
    Family("CLIP", "vit_base_patch32_clip_224", (224, 160)),
    Family("CLIP, quickgelu", "vit_base_patch32_clip_quickgelu_224", (224, 160)),
    Family("SigLIP, attention pooling", "vit_base_patch32_siglip_256", (256, 192)),
    Family("SigLIP, average", "vit_base_patch32_siglip_gap_256", (256, 192)),
    Family("EVA-02", "eva02_tiny_patch14_224", (224, 168)),
    Family("BEiT", "beit_base_patch16_224", (224, 160)),
    Family("BEiT v2", "beitv2_base_patch16_224", (224, 160)),
    Family("BEiT-3", "beit3_base_patch16_224", (224, 160)),
    Family("FlexiViT", "flexivit_small", (240, 192)),
    Family("Perception Encoder, core", "vit_pe_core_tiny_patch16_384", (384, 224)),
    Family("Perception Encoder, spatial", "vit_pe_spatial_tiny_patch16_512", (224, 160)),
    Family("RoPE, mixed", "vit_small_patch16_rope_mixed_224", (224, 160)),
    Family("RoPE, register, average", "vit_mediumd_patch16_rope_reg1_gap_256", (256, 192)),
    Family("SoViT-150M", "vit_so150m_patch16_reg4_map_256", (256, 192)),
    Family("XCiT", "xcit_nano_12_p16_224", (224, 160)),
    Family("CaiT", "cait_xxs24_224", (224,)),
    Family("ConViT", "convit_tiny", (224,)),
    Family("hybrid with a ResNet stem", "vit_tiny_r_s16_p8_224", (224, 160)),
    Family("NaFlexViT", "naflexvit_base_patch16_gap", (224, 160)),
    Family("ViTamin", "vitamin_small_224", (224, 160)),
    Family("timm's test ViT", "test_vit", (160, 96)),
    Family("timm's test ViT 2", "test_vit2", (160, 96)),
    Family("timm's test ViT 3", "test_vit3", (160, 96)),
    Family("timm's test ViT 4", "test_vit4", (160, 96)),
)
REFUSED = (
    "hiera_tiny_224",
    "samvit_base_patch16",
    "crossvit_tiny_240",
    "swin_tiny_patch4_window7_224",
    "resnet18",
    "levit_128s",
    "mambaout_femto",
    "volo_d1_224",
    "mobilevit_s",
)
