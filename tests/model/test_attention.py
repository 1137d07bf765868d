"""model.attention: plain products give what the fused function gives, only while the context is open."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode

from adaptertune_deploy.model.attention import plain_attention
from tests.model.builders import make_images, make_vit

FUSED = "scaled_dot_product_attention"


class _Calls(TorchFunctionMode):
    """Counts torch functions by name."""

    def __init__(self) -> None:
        super().__init__()
        self.counted: Counter[str] = Counter()

    def __torch_function__(
        self, func: Callable[..., Any], types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.counted[func.__name__] += 1
        return func(*args, **(kwargs or {}))


def fused_calls(network: torch.nn.Module) -> tuple[int, torch.Tensor]:
    with torch.no_grad(), _Calls() as calls:
        found = network(make_images())
    return calls.counted[FUSED], found


def test_every_block_multiplies_plainly_and_answers_the_same() -> None:
    network = make_vit().eval()
    count, fused = fused_calls(network)
    assert count == 3
    with plain_attention(network):
        count, plain = fused_calls(network)
    assert count == 0
    torch.testing.assert_close(plain, fused, rtol=1e-5, atol=1e-6)
    assert fused_calls(network)[0] == 3


def test_a_failure_leaves_the_network_as_it_was_and_what_was_plain_stays_plain() -> None:
    network: Any = make_vit().eval()
    network.blocks[1].attn.fused_attn = False
    with pytest.raises(RuntimeError, match="stop"), plain_attention(network):
        raise RuntimeError("stop")
    assert [block.attn.fused_attn for block in network.blocks] == [True, False, True]
