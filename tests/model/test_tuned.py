"""model.tuned: the start is the pretrained network, every weight learns at the rate of its layer, the file loads."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from adaptertune_deploy.core.adapter import tuned_weights
from adaptertune_deploy.model.backbone import weights_sha256
from adaptertune_deploy.model.tuned import TunedViT
from tests.builders import make_task
from tests.model.builders import make_backbone, make_images, make_model

TASK = make_task(rank=0)


def test_it_starts_as_the_pretrained_network_and_leaves_that_one_alone() -> None:
    backbone = make_backbone()
    before = weights_sha256(backbone.module)
    model = TunedViT(backbone, TASK, 0.5).eval()
    images = make_images()
    torch.testing.assert_close(model.features(images), make_model(TASK, backbone).features(images), rtol=0, atol=0)
    model.train()(images).square().sum().backward()
    with torch.no_grad():
        for value in model.trainable().values():
            assert value.grad is not None
            value.sub_(value.grad)
    assert weights_sha256(backbone.module) == before != weights_sha256(model.backbone)
    assert not any(value.requires_grad for value in backbone.module.parameters())


def test_every_weight_is_trained() -> None:
    backbone = make_backbone()
    names = {f"backbone.{name}" for name, _ in backbone.module.named_parameters()}
    assert set(TunedViT(backbone, TASK, 0.0).trainable()) == names | {"head.weight", "head.bias"}


def test_rates_fall_block_by_block_and_biases_norms_and_positions_do_not_decay() -> None:
    layers = TunedViT(make_backbone(), TASK, 0.0).layers(0.5)
    scales = [layers[f"backbone.blocks.{block}.attn.qkv.weight"][0] for block in range(3)]
    assert [late / early for early, late in itertools.pairwise(scales)] == [2.0, 2.0]
    assert layers["backbone.patch_embed.proj.weight"][0] == scales[0] / 2
    assert layers["head.weight"] == (1.0, True)
    assert max(scale for scale, _ in layers.values()) == 1.0
    undecayed = {name for name, (_, decays) in layers.items() if not decays}
    assert {"backbone.pos_embed", "backbone.cls_token", "backbone.norm.weight", "head.bias"} <= undecayed
    assert "backbone.blocks.0.mlp.fc1.weight" not in undecayed
    assert {scale for scale, _ in TunedViT(make_backbone(), TASK, 0.0).layers(1.0).values()} == {1.0}


def test_stochastic_depth_grows_with_depth_and_is_for_training_alone() -> None:
    model = TunedViT(make_backbone(), TASK, 0.4)
    blocks: Any = model.backbone.blocks
    assert [block.drop_path1.drop_prob for block in blocks] == [0.0, 0.2, 0.4]
    images = make_images(8)
    with torch.no_grad():
        torch.manual_seed(0)
        assert not torch.equal(model.train()(images), model(images))
        assert torch.equal(model.eval()(images), model(images))


def test_the_file_is_one_that_timm_loads(tmp_path: Path) -> None:
    model = TunedViT(make_backbone(), TASK, 0.3)
    with torch.no_grad():
        model.trainable()["backbone.norm.weight"].add_(1)
    (tmp_path / "backbone.safetensors").write_bytes(model.weights_file())
    other = make_backbone().module
    other.load_state_dict(load_file(tmp_path / "backbone.safetensors"))
    assert weights_sha256(other) == weights_sha256(model.backbone)
    assert tuned_weights.sha256(tmp_path / "backbone.safetensors") == weights_sha256(model.backbone)


@pytest.mark.parametrize("mode", [True, False])
def test_the_mode_is_that_of_the_backbone_too(mode: bool) -> None:
    assert TunedViT(make_backbone(), TASK, 0.1).train(mode).backbone.training is mode
