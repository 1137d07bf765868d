"""model.adapted: the network against an unrolled one, its exact start, and every family of backbones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import nn

from adaptertune_deploy.core.adapter import folder as adapters
from adaptertune_deploy.core.adapter.folder import Adapter
from adaptertune_deploy.core.adapter.identity import Identity, tensor_name, tensor_shapes
from adaptertune_deploy.core.errors import BackboneError, FormatError
from adaptertune_deploy.model.adapted import AdaptedViT, after_blocks, pooled_features
from adaptertune_deploy.model.backbone import load_backbone, weights_sha256
from tests.builders import make_adapter, make_backbone_spec, make_task
from tests.model.builders import disturb, make_backbone, make_images, make_model, make_vit


def unrolled(model: AdaptedViT, images: torch.Tensor) -> torch.Tensor:
    """Compute the logits block by block, as the paper writes them, without a hook."""
    vit: Any = model.backbone
    tensors = {name: value.detach() for name, value in model.trainable().items()}
    x = vit._pos_embed(vit.patch_embed(images))
    for index, block in enumerate(vit.blocks):
        x = block(x)
        if index in model.task.adapter.blocks:
            down, down_bias, up, up_bias = (
                tensors[tensor_name(index, side, kind)] for side in ("down", "up") for kind in ("weight", "bias")
            )
            hidden = x @ down.T + down_bias
            hidden = hidden * torch.special.ndtr(hidden)
            x = x + model.task.adapter.alpha * (hidden @ up.T + up_bias)
    x = vit.norm(x)
    pooled = x[:, 0] if vit.cls_token is not None else x.mean(dim=1)
    return pooled @ tensors["head.weight"].T + tensors["head.bias"]


@pytest.mark.parametrize("pooling", [{}, {"class_token": False, "global_pool": "avg", "fc_norm": False}])
@pytest.mark.parametrize(("blocks", "alpha"), [((0, 1, 2), 1.0), ((1,), 0.5), ((0, 2), -3.0)])
def test_the_network_computes_the_papers_equation(
    pooling: dict[str, Any], blocks: tuple[int, ...], alpha: float
) -> None:
    task = make_task(classes=4, rank=3, blocks=blocks, alpha=alpha)
    model = disturb(make_model(task, make_backbone(make_vit(**pooling)))).eval()
    images = make_images(3)
    expected = unrolled(model, images)
    torch.testing.assert_close(model(images), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(model(images), model.head(model.features(images)), rtol=0, atol=0)


def test_the_adapters_act_only_inside_their_own_forward() -> None:
    backbone = make_backbone()
    images = make_images()
    plain = pooled_features(backbone.module, images)
    first = disturb(make_model(make_task("one", blocks=(0,)), backbone))
    second = disturb(make_model(make_task("two", rank=5, blocks=(1, 2)), backbone), seed=9)
    alone = first(images)
    assert not torch.equal(first.features(images), plain)
    second(images)
    assert torch.equal(first(images), alone)
    assert torch.equal(pooled_features(backbone.module, images), plain)


def test_hooks_are_removed_when_a_forward_fails() -> None:
    backbone = make_backbone()
    images = make_images()
    plain = pooled_features(backbone.module, images)

    def fail(x: torch.Tensor) -> torch.Tensor:
        raise ArithmeticError

    with pytest.raises(ArithmeticError), after_blocks(backbone.module, {0: lambda x: x + 1, 1: fail}):
        pooled_features(backbone.module, images)
    assert torch.equal(pooled_features(backbone.module, images), plain)


def test_the_backbone_keeps_its_keys_its_values_and_its_checkpoint() -> None:
    plain = make_vit()
    model = make_model()
    assert list(model.backbone.state_dict()) == list(plain.state_dict())
    model.backbone.load_state_dict(plain.state_dict(), strict=True)


@pytest.mark.parametrize("mode", [True, False])
def test_the_backbone_stays_in_eval_mode(mode: bool) -> None:
    model = make_model(backbone=make_backbone(make_vit(drop_path_rate=0.5, proj_drop_rate=0.5, pos_drop_rate=0.5)))
    assert model.train(mode) is model
    assert all(module.training is mode for module in (model.adapters, *model.adapters.modules(), model.head))
    assert not any(module.training for module in model.backbone.modules())
    images = make_images()
    assert torch.equal(model(images), model(images))


def test_only_adapters_and_head_are_trainable_under_the_names_of_the_file() -> None:
    task = make_task(classes=5, rank=3, blocks=(0, 2))
    backbone = make_backbone()
    model = make_model(task, backbone)
    shapes = {name: tuple(value.shape) for name, value in model.trainable().items()}
    assert shapes == tensor_shapes(task, backbone.spec)
    learning = {id(parameter) for parameter in model.parameters() if parameter.requires_grad}
    assert learning == {id(parameter) for parameter in model.trainable().values()}
    model(make_images()).sum().backward()
    assert all(parameter.grad is None for parameter in model.backbone.parameters())


def test_deit_tiny_with_rank_8_has_the_published_number_of_parameters() -> None:
    module = timm.create_model("deit_tiny_patch16_224", num_classes=0)
    backbone = make_backbone(module, width=192, depth=12)
    model = AdaptedViT(backbone, make_task(classes=37, rank=8, blocks=tuple(range(12))))
    trained = sum(parameter.numel() for parameter in model.trainable().values())
    assert trained == 39_264 + 37 * (192 + 1)


def test_a_block_that_is_not_there_is_refused() -> None:
    with pytest.raises(BackboneError, match=r"task 'pets' adapts block 3, but vit_test\.random has blocks 0 to 2"):
        make_model(make_task(blocks=(0, 3)))


def test_packed_and_unpacked_tensors_give_equal_logits() -> None:
    task = make_task(blocks=(0, 2), alpha=0.5)
    model = disturb(make_model(task)).eval()
    exported = model.export_tensors()
    images = make_images()
    expected = model(images)
    backbone = make_backbone()
    identity = Identity(task, backbone.spec, backbone.preprocess)
    data = adapters.pack(exported, identity)
    disturb(model, seed=77)
    assert not torch.equal(model(images), expected)
    fresh = make_model(task).eval()
    fresh.load(adapters.unpack(data, identity, "file"))
    assert torch.equal(fresh(images), expected)


def test_a_head_only_task_is_a_head_on_the_frozen_features() -> None:
    backbone = make_backbone()
    model = disturb(make_model(make_task(classes=5, rank=0), backbone)).eval()
    assert list(model.trainable()) == ["head.weight", "head.bias"]
    images = make_images(3)
    features = pooled_features(backbone.module, images)
    assert torch.equal(model.features(images), features)
    expected = features @ model.head.weight.T + model.head.bias
    torch.testing.assert_close(model(images), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("rank", [0, 2])
def test_the_temperature_divides_the_logits(rank: int) -> None:
    plain, warm = (
        disturb(make_model(make_task(rank=rank, blocks=(0, 1, 2), temperature=temperature))).eval()
        for temperature in (1.0, 2.5)
    )
    images = make_images(3)
    assert torch.equal(warm(images), plain(images) / 2.5)


@pytest.mark.parametrize("change", [{"alpha": 0.5}, {"temperature": 3.0}])
def test_tensors_that_belong_to_another_scale_are_refused(change: dict[str, float]) -> None:
    other = make_adapter(make_task(blocks=(0, 1, 2), **change), make_backbone_spec(16))  # type: ignore[arg-type]
    with pytest.raises(FormatError, match=r"alpha and temperature are .*, expected 1\.0 and 1\.0$"):
        make_model().load(other)


def test_exported_tensors_are_float32_copies() -> None:
    model = disturb(make_model())
    exported = model.export_tensors()
    before = {name: value.copy() for name, value in exported.items()}
    disturb(model, seed=5)
    for name, value in exported.items():
        assert value.dtype == np.float32
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"rank": 3}, r"tensor 'blocks\.0\.adapter\.down\.bias' has shape \(3,\), expected \(2,\)"),
        ({"classes": 4}, r"tensor 'head\.bias' has shape \(4,\), expected \(3,\)"),
        ({"blocks": (0, 1)}, r"tensor 'blocks\.2\.adapter\.down\.bias' has shape None, expected \(2,\)"),
        ({"blocks": (0, 1, 2, 3)}, r"tensor 'blocks\.3\.adapter\.down\.bias' has shape \(2,\), expected None"),
    ],
)
def test_the_tensors_of_another_task_are_refused(change: dict[str, Any], found: str) -> None:
    other = make_adapter(make_task("other", **{"blocks": (0, 1, 2), **change}), make_backbone_spec(16))
    model = make_model()
    before = model.export_tensors()
    with pytest.raises(FormatError, match=f"^task 'other' does not fit the network of 'pets': {found}$"):
        model.load(other)
    assert all(np.array_equal(before[name], value) for name, value in model.export_tensors().items())


def test_a_tensor_that_would_broadcast_is_refused() -> None:
    task = make_task(blocks=(0, 1, 2))
    tensors = {**make_adapter(task, make_backbone_spec(16)).tensors, "head.bias": np.ones(1, np.float32)}
    with pytest.raises(FormatError, match=r"tensor 'head\.bias' has shape \(1,\), expected \(3,\)"):
        make_model(task).load(Adapter(task, tensors))


# Family -> (timm architecture, options that make it small).
SMALL = {"depth": 2, "embed_dim": 48, "num_heads": 4}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "ViT": ("vit_tiny_patch16_224", SMALL),
    "DeiT": ("deit_tiny_patch16_224", SMALL),
    "DeiT distilled": ("deit_tiny_distilled_patch16_224", SMALL),
    "DeiT III": ("deit3_small_patch16_224", SMALL),
    "DINOv2 with registers": ("vit_small_patch14_reg4_dinov2", SMALL),
    "DINOv3": ("vit_small_patch16_dinov3", SMALL),
    "CLIP": ("vit_base_patch16_clip_224", SMALL),
    "SigLIP": ("vit_base_patch16_siglip_224", SMALL),
    "Perception Encoder": ("vit_pe_core_tiny_patch16_384", SMALL),
    "AIMv2": ("aimv2_large_patch14_224", SMALL),
    "RoPE ViT": ("vit_small_patch16_rope_224", SMALL),
    "EVA-02": ("eva02_tiny_patch14_224", SMALL),
    "BEiT": ("beit_base_patch16_224", SMALL),
    "FlexiViT": ("flexivit_small", SMALL),
    "NaFlexViT": ("naflexvit_base_patch16_gap", SMALL),
    "relative positions": ("vit_relpos_small_patch16_224", SMALL),
    "parallel blocks": ("vit_small_patch16_18x2_224", SMALL),
    "hybrid stem": ("vit_tiny_r_s16_p8_224", SMALL),
    "CaiT": ("cait_xxs24_224", SMALL),
    "XCiT": ("xcit_nano_12_p16_224", SMALL),
    "ConViT": ("convit_tiny", {"depth": 2, "embed_dim": 12, "num_heads": 4}),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_starts_exactly_and_learns_in_every_block(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, options = FAMILIES[family]
    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda *args, **given: create(*args, **{**options, **given}))
    backbone = load_backbone(f"{name}.random", allow_random=True)
    model = make_model(make_task(blocks=(0, 1)), backbone)
    images = make_images(1, backbone.spec.image_size)
    plain = create(name, num_classes=0, **options)
    assert list(model.backbone.state_dict()) == list(plain.state_dict())
    plain.load_state_dict(backbone.module.state_dict(), strict=True)
    plain.eval()
    with torch.no_grad():
        expected = plain.forward_head(plain.forward_features(images), pre_logits=True)
        assert torch.equal(model.eval().features(images), expected)
    assert expected.shape == (1, backbone.spec.features)
    model.train()(images).square().sum().backward()
    for block in model.adapters.values():
        assert block.up.weight.grad.any()
        assert not block.down.weight.grad.any()
    assert model.head.weight.grad.any()
    assert all(parameter.grad is None for parameter in model.backbone.parameters())


def test_the_head_of_a_distilled_deit_sees_both_tokens_and_no_frozen_head(monkeypatch: pytest.MonkeyPatch) -> None:
    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda *args, **given: create(*args, **{**SMALL, **given}))
    backbone = load_backbone("deit_tiny_distilled_patch16_224.random", allow_random=True)
    images = make_images(1, backbone.spec.image_size)
    tokens = backbone.module.forward_features(images)
    torch.testing.assert_close(pooled_features(backbone.module, images), (tokens[:, 0] + tokens[:, 1]) / 2)
    assert not [name for name in backbone.module.state_dict() if name.startswith("head")]


def test_training_leaves_parameters_and_buffers_alone_despite_batch_norm_and_drop_path() -> None:
    module = timm.create_model("xcit_nano_12_p16_224", num_classes=0, drop_path_rate=0.5, **SMALL)
    assert any(isinstance(part, nn.BatchNorm2d) for part in module.modules())
    model = make_model(make_task(blocks=(0, 1)), make_backbone(module, width=48, depth=2)).train()
    before = weights_sha256(module)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for seed in range(2):
        model(make_images(2, (64, 64), seed)).square().sum().backward()
        optimizer.step()
    assert weights_sha256(module) == before
    module.train()(make_images(2, (64, 64)))
    assert weights_sha256(module) != before  # what the reference implementation lets happen
