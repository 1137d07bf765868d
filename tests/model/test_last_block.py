"""model.last_block: the class token alone gives the same answers and gradients, where nothing else is read."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from timm.models.deit import VisionTransformerDistilled
from torch import Tensor

from adaptertune_deploy.model.last_block import allows, class_token_last
from adaptertune_deploy.model.tuned import TunedViT
from tests.builders import make_task
from tests.model.builders import disturb, make_backbone, make_images, make_model, make_vit

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "layer scale": {"init_values": 0.3},
    "no biases": {"qkv_bias": False},
    "registers": {"reg_tokens": 2},
}


def gradients(model: Any) -> dict[str, Tensor]:
    model.zero_grad()
    logits = model(make_images(4))
    (logits * torch.arange(12).reshape(4, 3)).sum().backward()
    return {name: value.grad.clone() for name, value in model.trainable().items()} | {"logits": logits.detach()}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_answers_and_gradients_are_those_of_the_whole_block(options: dict[str, Any]) -> None:
    model = disturb(make_model(backbone=make_backbone(make_vit(**options)))).train()
    seen: list[tuple[int, ...]] = []
    model.adapters["2"].register_forward_hook(lambda _part, _inputs, output: seen.append(tuple(output.shape)))
    expected = gradients(model)
    with class_token_last(model.backbone) as changed:
        found = gradients(model)
    assert changed
    assert [shape[1] for shape in seen] == [5 + options.get("reg_tokens", 0), 1]
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5, msg=name)
    gradients(model)
    assert seen[2] == seen[0]  # afterwards the block is whole again


def test_a_block_that_learns_has_its_gradients_and_its_stochastic_depth() -> None:
    model = TunedViT(make_backbone(), make_task(rank=0), 0.5).train()
    assert model.backbone.blocks[-1].drop_path2.drop_prob == 0.5  # type: ignore[index, union-attr]
    torch.manual_seed(3)
    expected = gradients(model)
    torch.manual_seed(3)
    with class_token_last(model.backbone) as changed:
        found = gradients(model)
    assert changed
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5, msg=name)
    torch.manual_seed(4)
    assert not torch.equal(gradients(model)["logits"], expected["logits"])


@pytest.mark.parametrize(
    "options", [{"global_pool": "avg"}, {"global_pool": "map"}, {"class_token": False, "global_pool": "avg"}]
)
def test_a_network_that_reads_other_tokens_stays_as_it_is(options: dict[str, Any]) -> None:
    module: Any = make_vit(**options)
    with class_token_last(module) as changed:
        assert not changed
        assert "forward" not in vars(module.blocks[-1])


def test_a_network_with_a_pooling_of_its_own_is_not_taken_for_a_plain_one() -> None:
    assert not allows(VisionTransformerDistilled(img_size=16, patch_size=8, embed_dim=16, depth=1, num_heads=2))
    assert allows(make_vit())


def test_a_failure_leaves_the_block_as_it_was() -> None:
    module: Any = make_vit()
    with pytest.raises(RuntimeError, match="stop"), class_token_last(module):
        raise RuntimeError("stop")
    assert "forward" not in vars(module.blocks[-1])
