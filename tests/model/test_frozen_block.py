"""model.frozen_block: outputs and gradients against autograd's, which blocks it takes, and what it leaves behind."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from timm.layers.attention import AttentionRope
from torch import Tensor, nn

from adaptertune_deploy.model import frozen_block
from adaptertune_deploy.model.adapted import AdaptedViT
from adaptertune_deploy.model.attention import plain_attention
from adaptertune_deploy.model.frozen_block import fits, frozen_blocks
from tests.model.builders import disturb, make_backbone, make_images, make_model, make_vit

NETWORKS: dict[str, dict[str, Any]] = {
    "plain": {},
    "layer scale": {"init_values": 0.3},
    "no biases": {"qkv_bias": False},
    "registers": {"reg_tokens": 2, "global_pool": "avg"},
    "heads of 16 channels": {"num_heads": 1},
}
OTHERS: dict[str, dict[str, Any]] = {
    "norms of queries and keys": {"qk_norm": True},
    "another activation": {"act_layer": nn.ReLU},
    "an approximate GELU": {"act_layer": lambda: nn.GELU(approximate="tanh")},
}


def make(options: dict[str, Any]) -> AdaptedViT:
    """Return a network whose norms and layer scales are no ones, adapters and head included."""
    module = make_vit(**options)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return disturb(make_model(backbone=make_backbone(module))).train()


def gradients(model: AdaptedViT, precision: torch.dtype) -> dict[str, Tensor]:
    """Return the gradients of a loss, and its logits under "logits"."""
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
        logits = model(make_images(4))
    (logits.float() * torch.arange(12).reshape(4, 3)).sum().backward()
    found = {name: value.grad.clone() for name, value in model.trainable().items() if value.grad is not None}
    return {**found, "logits": logits.detach().float()}


def distance(found: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    """Return the largest error of a tensor, by the tensor's norm."""
    assert found.keys() == expected.keys()
    return max(float((found[name] - value).norm() / value.norm()) for name, value in expected.items())


@pytest.mark.parametrize("options", NETWORKS.values(), ids=NETWORKS)
def test_in_float32_answers_and_gradients_are_those_of_autograd(options: dict[str, Any]) -> None:
    model = make(options)
    expected = gradients(model, torch.float32)
    with frozen_blocks(model.backbone, torch.float32) as changed:
        found = gradients(model, torch.float32)
    assert changed == 3
    assert len(found) == 3 * 4 + 2 + 1
    assert distance(found, expected) < 1e-5


@pytest.mark.parametrize("fused_bias", [True, False])
@pytest.mark.parametrize("options", NETWORKS.values(), ids=NETWORKS)
def test_in_bf16_it_errs_no_more_than_autocast_does(
    options: dict[str, Any], fused_bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frozen_block, "FUSED_BIAS", fused_bias and frozen_block.FUSED_BIAS)
    model = make(options)
    exact = gradients(model, torch.float32)
    with plain_attention(model.backbone):
        usual = distance(gradients(model, torch.bfloat16), exact)
    with frozen_blocks(model.backbone, torch.bfloat16):
        found = distance(gradients(model, torch.bfloat16), exact)
    assert 0 < found < max(1.5 * usual, 0.02)


def test_the_block_before_the_first_adapter_keeps_nothing_for_a_gradient() -> None:
    model = make({})
    kept: list[int] = []
    with (
        frozen_blocks(model.backbone, torch.float32),
        torch.autograd.graph.saved_tensors_hooks(lambda value: (kept.append(value.data_ptr()), value)[1], lambda v: v),
    ):
        first: Any = model.backbone.blocks[0]  # type: ignore[index]
        first(torch.randn(2, 5, 16))
        assert kept == []
        first(torch.randn(2, 5, 16, requires_grad=True))
        assert len(kept) == 11


@pytest.mark.parametrize("options", OTHERS.values(), ids=OTHERS)
def test_other_blocks_stay_as_they_are(options: dict[str, Any]) -> None:
    module: Any = make_vit(**options)
    with frozen_blocks(module.eval().requires_grad_(False), torch.float32) as changed:
        assert changed == 0
        assert not any("forward" in vars(block) for block in module.blocks)


def test_rotary_attention_and_a_replaced_forward_do_not_fit() -> None:
    block: Any = make_vit().blocks[0]  # type: ignore[index]
    assert fits(block)
    block.forward = lambda x: x
    assert not fits(block)
    del block.forward
    block.attn = AttentionRope(16, 2)
    assert not fits(block)


def test_masked_attention_is_the_block_s_own() -> None:
    module: Any = make_vit().eval().requires_grad_(False)
    x, mask = torch.randn(2, 5, 16), torch.ones(5, 5, dtype=torch.bool).tril()
    expected = module.blocks[0](x, attn_mask=mask)
    with frozen_blocks(module, torch.float32):
        assert torch.equal(module.blocks[0](x, attn_mask=mask), expected)
        assert not torch.allclose(module.blocks[0](x, attn_mask=None), expected)


def test_a_block_that_learns_stays_as_it_is() -> None:
    module: Any = make_vit().requires_grad_(False)
    module.blocks[1].mlp.fc1.weight.requires_grad_(True)
    with frozen_blocks(module, torch.float32) as changed:
        assert changed == 2
        assert "forward" not in vars(module.blocks[1])


def test_a_failure_leaves_the_blocks_as_they_were() -> None:
    module: Any = make_vit().eval().requires_grad_(False)
    with pytest.raises(RuntimeError, match="stop"), frozen_blocks(module, torch.bfloat16):
        raise RuntimeError("stop")
    assert not any("forward" in vars(block) for block in module.blocks)


@pytest.mark.parametrize("fused", [True, False])
def test_a_product_in_bf16_is_torchs_with_and_without_onednns(fused: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """oneDNN has none on x86-64 processors without AVX-512."""
    if fused and not frozen_block.FUSED_BIAS:
        pytest.skip("oneDNN does not multiply bfloat16 on this processor")
    monkeypatch.setattr(frozen_block, "FUSED_BIAS", fused)
    draw = torch.Generator().manual_seed(0)
    x, weight, bias = (torch.randn(*size, generator=draw).bfloat16() for size in ((7, 16), (5, 16), (5,)))
    found = frozen_block.Linear(weight, bias)(x)
    expected = nn.functional.linear(x.float(), weight.float(), bias.float())
    assert found.dtype == torch.bfloat16
    assert torch.allclose(found.float(), expected, atol=0.05)
