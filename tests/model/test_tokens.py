"""model.tokens: shapes tell a plain Vision Transformer from everything else, with or without numbers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from adaptertune_deploy.core.errors import BackboneError
from adaptertune_deploy.model.tokens import check_blocks, measure
from tests.model.builders import make_vit


class Toy(nn.Module):
    """Two blocks that each apply a function, and a mean over the tokens."""

    def __init__(self, block: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(block) for _ in range(2))

    def forward_features(self, images: Tensor) -> Tensor:
        x = torch.zeros(len(images), 4, 6, device=images.device)
        for block in self.blocks:
            x = block(x)
        return x

    def forward_head(self, x: Tensor, pre_logits: bool) -> Tensor:
        return x.mean(dim=1)


class Block(nn.Module):
    def __init__(self, function: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> object:
        return self.function(x)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_widths_are_read_from_shapes(device: str) -> None:
    with torch.device(device):
        module = make_vit().eval()
    check_blocks(module, "x")
    assert measure(module, (16, 16), "x", device) == (16, 16)


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize(
    "block", [lambda x: torch.cat([x, x], dim=2), lambda x: x.unsqueeze(1)], ids=["width grows", "grid"]
)
def test_what_is_no_sequence_of_one_width_is_refused(block: Callable[[Tensor], object], device: str) -> None:
    with pytest.raises(BackboneError, match="'toy' is not a plain Vision Transformer: its blocks don't hand on one"):
        measure(Toy(block), (8, 8), "toy", device)


def test_a_network_without_blocks_is_refused() -> None:
    with pytest.raises(BackboneError, match="'toy' is not a Vision Transformer: it has no list of transformer blocks"):
        check_blocks(nn.Linear(2, 2), "toy")


def test_no_hook_stays() -> None:
    module = Toy(lambda x: x)
    measure(module, (8, 8), "toy")
    assert not any(block._forward_hooks for block in module.blocks)
