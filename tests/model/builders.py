"""Tiny Vision Transformers that the tests of model/ and train/ start from; every one is the same on every call."""

from __future__ import annotations

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from adaptertune_deploy.core.spec import BackboneSpec, TaskSpec
from adaptertune_deploy.model.adapted import AdaptedViT
from adaptertune_deploy.model.backbone import Backbone, weights_sha256
from tests.builders import make_preprocess_spec, make_task

SIDE = 16


def make_vit(**options: object) -> nn.Module:
    """Return a Vision Transformer for 16x16 pixels: width 16, depth 3, class token."""
    shape = {"img_size": SIDE, "patch_size": 8, "embed_dim": 16, "depth": 3, "num_heads": 2, "num_classes": 0}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return VisionTransformer(**{**shape, **options})  # type: ignore[arg-type]


def make_backbone(module: nn.Module | None = None, width: int = 16, depth: int = 3) -> Backbone:
    module = (make_vit() if module is None else module).eval().requires_grad_(False)
    spec = BackboneSpec("vit_test.random", width, depth, width, (SIDE, SIDE), weights_sha256(module))
    return Backbone(module, spec, make_preprocess_spec((SIDE, SIDE), 1.0))


def make_model(task: TaskSpec | None = None, backbone: Backbone | None = None) -> AdaptedViT:
    """Return an adapted network at its start."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return AdaptedViT(backbone or make_backbone(), task or make_task(blocks=(0, 1, 2)))


def disturb(model: AdaptedViT, seed: int = 2) -> AdaptedViT:
    """Give every trained tensor normally distributed values, so that each of them matters."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.trainable().values():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model


def make_images(count: int = 2, size: tuple[int, int] = (SIDE, SIDE), seed: int = 3) -> torch.Tensor:
    return torch.randn(count, 3, *size, generator=torch.Generator().manual_seed(seed))
