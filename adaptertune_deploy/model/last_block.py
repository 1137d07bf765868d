"""The last block where a network pools by its class token: nothing else is read of its output, so nothing else is made.

After the last attention no token looks at another one any more. Queries, projection and MLP of the other tokens change
neither the pooled features nor any gradient, and are four fifths of the block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional

from adaptertune_deploy.model.frozen_block import fits


@contextmanager
def class_token_last(network: nn.Module) -> Iterator[bool]:
    """Let the last block hand on the class token alone, (batch, 1, width); yields whether the network allows that."""
    block: Any = network.blocks[-1] if allows(network) else None  # type: ignore[index]
    if block is None:
        yield False
        return
    block.forward = _forward_of(block)
    try:
        yield True
    finally:
        del block.forward


def allows(network: Any) -> bool:
    """Return whether a network is timm's plain Vision Transformer that reads its class token alone."""
    return (
        type(network) is VisionTransformer
        and network.global_pool == "token"
        and network.attn_pool is None
        and network.num_prefix_tokens > 0
        and fits(network.blocks[-1])
    )


def _forward_of(block: Any) -> Callable[[Tensor], Tensor]:
    attention = block.attn
    width, heads = attention.attn_dim, attention.num_heads
    weight, bias = attention.qkv.weight, attention.qkv.bias
    of_query, of_rest = (None, None) if bias is None else (bias[:width], bias[width:])

    def forward(x: Tensor) -> Tensor:
        batch, tokens, _ = x.shape
        normed = block.norm1(x)
        q = functional.linear(normed[:, :1], weight[:width], of_query).view(batch, 1, heads, -1).transpose(1, 2)
        rest = functional.linear(normed, weight[width:], of_rest).view(batch, tokens, 2, heads, -1)
        k, v = rest.permute(2, 0, 3, 1, 4)
        share = attention.attn_drop((q * attention.scale @ k.transpose(-2, -1)).softmax(dim=-1))
        mixed = attention.proj_drop(attention.proj((share @ v).transpose(1, 2).reshape(batch, 1, width)))
        x = x[:, :1] + block.drop_path1(block.ls1(mixed))
        y: Tensor = x + block.drop_path2(block.ls2(block.mlp(block.norm2(x))))
        return y

    return forward
