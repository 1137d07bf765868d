"""model.embedded: the backbone that ships in the package, found without a network."""

from __future__ import annotations

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from PIL import Image
from sklearn.datasets import load_digits

from adaptertune_deploy.core.images import preprocess
from adaptertune_deploy.model.adapted import pooled_features
from adaptertune_deploy.model.adapter import count_parameters
from adaptertune_deploy.model.backbone import load_backbone
from adaptertune_deploy.model.embedded import EMBEDDED_WEIGHTS
from adaptertune_deploy.model.names import EMBEDDED_BACKBONE
from tests.model.builders import make_images


def test_the_shape_is_the_documented_one() -> None:
    module = timm.create_model("vit_pico_patch8_64", num_classes=0)
    width, depth, tokens = 128, 8, 64
    block = 2 * 2 * width + 4 * width * (width + 1) + 2 * 4 * width * width + 4 * width + width
    assert count_parameters(module) == 3 * 64 * width + width + tokens * width + depth * block + 2 * width
    assert count_parameters(module) == pytest.approx(1.6e6, rel=0.02)
    assert module(make_images(2, (64, 64))).shape == (2, width)


def test_its_options_can_be_overridden_as_those_of_any_timm_model() -> None:
    module = timm.create_model("vit_pico_patch8_64", num_classes=5, depth=2)
    assert len(module.blocks) == 2
    assert module(make_images(1, (64, 64))).shape == (1, 5)


def test_the_file_is_small_and_holds_half_precision() -> None:
    assert EMBEDDED_WEIGHTS.stat().st_size <= 4_000_000
    tensors = safetensors.torch.load_file(EMBEDDED_WEIGHTS)
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}


def test_it_loads_as_timm_itself_loads_it() -> None:
    backbone = load_backbone(EMBEDDED_BACKBONE)
    assert (backbone.spec.name, backbone.notes) == (EMBEDDED_BACKBONE, ())
    assert load_backbone("vit_pico_patch8_64").spec == backbone.spec
    reference = timm.create_model(EMBEDDED_BACKBONE, pretrained=True).eval()
    images = make_images(2, (64, 64))
    with torch.no_grad():
        assert torch.equal(pooled_features(backbone.module, images), reference(images))
    spec = backbone.preprocess
    assert (spec.size, spec.crop_pct, spec.interpolation) == ((64, 64), 1.0, "bicubic")
    assert (spec.mean, spec.std) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def nearest_neighbour_accuracy(name: str) -> float:
    """Name 100 handwritten digits by the nearest of 150 others, in the features of a frozen backbone."""
    backbone = load_backbone(name, allow_random=True)
    digits = load_digits()
    grey = np.rint(digits.images[:250] * (255 / 16)).astype(np.uint8)
    scans = [Image.fromarray(scan).convert("RGB") for scan in grey]
    images = torch.from_numpy(np.stack([preprocess.transform(scan, backbone.preprocess) for scan in scans]))
    with torch.no_grad():
        features = pooled_features(backbone.module, images)
    nearest = torch.cdist(features[150:], features[:150]).argmin(dim=1).numpy()
    return float((digits.target[:150][nearest] == digits.target[150:250]).mean())


def test_its_features_tell_digits_apart_where_random_ones_do_not() -> None:
    trained, random = map(nearest_neighbour_accuracy, (EMBEDDED_BACKBONE, "vit_pico_patch8_64.random"))
    assert trained > 0.75
    assert trained > random + 0.25
