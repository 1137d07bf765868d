"""train.loop.proofs: each one holds for an honest run and fails for the defect that it is there for."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import Tensor

from adaptertune_deploy.core.errors import TrainingError
from adaptertune_deploy.model.adapted import AdaptedViT
from adaptertune_deploy.model.adapter import Adapter
from adaptertune_deploy.model.backbone import weights_sha256
from adaptertune_deploy.train.loop import proofs
from tests.builders import make_task
from tests.model.builders import make_backbone, make_images, make_model, make_vit


def step(model: AdaptedViT) -> AdaptedViT:
    model.train()(make_images()).square().sum().backward()
    return model


def test_new_adapters_change_nothing() -> None:
    assert proofs.prove_start(make_model().eval(), make_images(5)) == 5


@pytest.mark.parametrize("block", ["0", "2"])
def test_an_adapter_that_does_not_start_at_zero_is_found(block: str) -> None:
    model = make_model().eval()
    with torch.no_grad():
        model.adapters[block].up.bias[3] = 1e-3
    with pytest.raises(TrainingError, match=r"features differ from the backbone's by [\d.e-]+, expected 0"):
        proofs.prove_start(model, make_images())


def test_a_backbone_that_is_random_is_found() -> None:
    model = make_model(backbone=make_backbone(make_vit(proj_drop_rate=0.5)))
    model.backbone.train()
    with pytest.raises(TrainingError, match="does not compute the same twice"):
        proofs.prove_start(model, make_images())


def test_after_one_backward_every_adapter_has_a_gradient() -> None:
    assert proofs.prove_gradients(step(make_model())) == 3
    assert proofs.prove_gradients(step(make_model(make_task(blocks=(1,))))) == 1


@pytest.mark.parametrize("gradient", [None, torch.zeros(16, 2)])
@pytest.mark.parametrize("block", ["0", "1", "2"])
def test_an_adapter_without_a_gradient_is_named(block: str, gradient: Tensor | None) -> None:
    model = step(make_model())
    model.adapters[block].up.weight.grad = gradient
    with pytest.raises(TrainingError, match=f"the adapter after block {block} got no gradient in the first step"):
        proofs.prove_gradients(model)


def test_a_cut_gradient_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = Adapter.forward
    monkeypatch.setattr(Adapter, "forward", lambda self, x: forward(self, x).detach())
    with pytest.raises(TrainingError, match="the adapter after block 0 got no gradient"):
        proofs.prove_gradients(step(make_model()))


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
def test_reentrant_checkpointing_is_found() -> None:
    backbone = make_backbone()
    backbone.module.set_grad_checkpointing(True)
    model = make_model(backbone=backbone)
    timm.layers.set_reentrant_ckpt(True)  # what TIMM_REENTRANT_CKPT=1 does
    try:
        step(model)
    finally:
        timm.layers.set_reentrant_ckpt(False)
    assert model.head.weight.grad.any()  # only the head would learn
    with pytest.raises(TrainingError, match="switch gradient checkpointing off"):
        proofs.prove_gradients(model)


def test_an_untouched_backbone_is_proved_tensor_by_tensor() -> None:
    model = make_model()
    before = weights_sha256(model.backbone)
    step(model)
    assert proofs.prove_frozen(model.backbone, before) == len(model.backbone.state_dict()) > 30


@pytest.mark.parametrize("name", ["blocks.1.attn.qkv.weight", "pos_embed", "norm.bias"])
def test_a_tampered_backbone_is_found(name: str) -> None:
    model = make_model()
    before = weights_sha256(model.backbone)
    model.backbone.state_dict()[name].view(-1)[0] += 1e-6
    with pytest.raises(TrainingError, match=rf"the frozen backbone changed while training: .* before {before[:12]}"):
        proofs.prove_frozen(model.backbone, before)


def test_a_buffer_that_drifts_is_found() -> None:
    vit = make_vit()
    vit.norm = torch.nn.Sequential(vit.norm, torch.nn.BatchNorm1d(5))
    model = make_model(backbone=make_backbone(vit))
    before = weights_sha256(model.backbone)
    model.backbone.train()(make_images())
    with pytest.raises(TrainingError, match="the frozen backbone changed"):
        proofs.prove_frozen(model.backbone, before)
