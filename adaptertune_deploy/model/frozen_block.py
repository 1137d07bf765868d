"""A frozen Transformer block for training on a CPU: its gradient goes to its input alone, and is written out here.

Autograd treats a frozen block as a chain of small operations: it casts, copies and keeps more than the gradient of the
input needs, which on a CPU takes as long as the products. The function here is the block's own under autocast, with
the same roundings: residuals and norms in float32, products, softmax and GELU in the precision of the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from timm.layers.attention import Attention
from timm.layers.layer_scale import LayerScale
from timm.layers.mlp import Mlp
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn import functional

NO_WEIGHT_GRADIENTS = [True, False, False]


@dataclass(frozen=True, eq=False)
class Linear:
    """weight: [out, in]. bias: [out]."""

    weight: Tensor
    bias: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """Return x @ weight.T + bias for x [rows, in]; oneDNN adds the bias within the product."""
        if x.dtype == torch.bfloat16 and FUSED_BIAS:
            y: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")
            return y
        return functional.linear(x, self.weight, self.bias)


@dataclass(frozen=True, eq=False)
class Weights:
    """A block's weights, with the scale of the queries and both layer scales folded in; norms are float32."""

    heads: int
    norm1: nn.LayerNorm
    qkv: Linear
    proj: Linear
    norm2: nn.LayerNorm
    fc1: Linear
    fc2: Linear


def _has_fused_bias() -> bool:
    """Return whether oneDNN is there and multiplies bfloat16 on this processor: on x86-64 it asks for AVX-512."""
    if not torch.backends.mkldnn.is_available() or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):  # type: ignore[no-untyped-call]
        return False
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


FUSED_BIAS = _has_fused_bias()


@contextmanager
def frozen_blocks(network: nn.Module, dtype: torch.dtype) -> Iterator[int]:
    """Let those of a network's blocks that are timm's plain ones compute as this module does; yields their number.

    Args:
        network: in eval mode; a block of it that learns stays as it is.
        dtype: of the products.
    """
    changed: list[Any] = []
    blocks: Any = network.blocks
    try:
        for block in blocks:
            if fits(block) and not any(parameter.requires_grad for parameter in block.parameters()):
                block.forward = forward_of(block, dtype)
                changed.append(block)
        yield len(changed)
    finally:
        for block in changed:
            del block.forward


def fits(block: nn.Module) -> bool:
    """Return whether a block is timm's plain one: pre-norm attention and an MLP with the exact GELU."""
    if type(block) is not Block or "forward" in vars(block):
        return False
    attention, mlp, parts = block.attn, block.mlp, (block.ls1, block.ls2)
    if type(attention) is not Attention or type(mlp) is not Mlp:
        return False
    plain = (attention.q_norm, attention.k_norm, attention.norm, mlp.norm)
    return (
        attention.gate is None
        and attention.attn_dim == attention.proj.out_features
        and all(type(part) is nn.Identity for part in plain)
        and all(type(part) in (nn.Identity, LayerScale) for part in parts)
        and all(isinstance(norm, nn.LayerNorm) for norm in (block.norm1, block.norm2))
        and isinstance(mlp.act, nn.GELU)
        and mlp.act.approximate == "none"
        and all(type(part) is nn.Linear for part in (attention.qkv, attention.proj, mlp.fc1, mlp.fc2))
    )


def forward_of(block: Any, dtype: torch.dtype) -> Callable[..., Tensor]:
    """Return a function from tokens (batch, tokens, width) to the block's output, float32; see `fits`.

    Masked attention is left to the block itself.
    """
    weights = _weights(block, dtype)

    def forward(x: Tensor, attn_mask: Tensor | None = None, is_causal: bool = False) -> Tensor:
        if attn_mask is not None or is_causal:
            masked: Tensor = Block.forward(block, x, attn_mask=attn_mask, is_causal=is_causal)
            return masked
        y: Tensor = _FrozenBlock.apply(x.float(), weights)
        return y

    return forward


@torch.no_grad()
def _weights(block: Any, dtype: torch.dtype) -> Weights:
    attention, mlp = block.attn, block.mlp
    scale = torch.ones(3, attention.attn_dim, device=attention.qkv.weight.device)
    scale[0] = attention.scale
    return Weights(
        heads=attention.num_heads,
        norm1=block.norm1,
        qkv=_scaled(attention.qkv, scale.flatten(), dtype),
        proj=_scaled(attention.proj, _gamma(block.ls1), dtype),
        norm2=block.norm2,
        fc1=_scaled(mlp.fc1, None, dtype),
        fc2=_scaled(mlp.fc2, _gamma(block.ls2), dtype),
    )


def _gamma(scale: nn.Module) -> Tensor | None:
    return scale.gamma if isinstance(scale, LayerScale) else None


def _scaled(linear: nn.Linear, scale: Tensor | None, dtype: torch.dtype) -> Linear:
    weight = linear.weight.detach()
    bias = weight.new_zeros(len(weight)) if linear.bias is None else linear.bias.detach()
    if scale is not None:
        weight, bias = weight * scale[:, None], bias * scale
    return Linear(weight.to(dtype), bias.to(dtype))


def _normed(x: Tensor, norm: nn.LayerNorm) -> tuple[Tensor, Tensor, Tensor]:
    y, mean, rstd = torch.native_layer_norm(x, norm.normalized_shape, norm.weight, norm.bias, norm.eps)
    return y, mean, rstd


def _norm_gradient(gradient: Tensor, x: Tensor, norm: nn.LayerNorm, mean: Tensor, rstd: Tensor) -> Tensor:
    found: Tensor = torch.ops.aten.native_layer_norm_backward(
        gradient, x, norm.normalized_shape, mean, rstd, norm.weight, norm.bias, NO_WEIGHT_GRADIENTS
    )[0]
    return found


class _FrozenBlock(torch.autograd.Function):
    """The block as one function of its input."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weights: Weights) -> Tensor:
        """Return the block's output for x (batch, tokens, width), float32."""
        batch, tokens, width = x.shape
        dtype, heads = weights.qkv.weight.dtype, weights.heads
        with torch.autocast(x.device.type, enabled=False):
            normed, mean1, rstd1 = _normed(x, weights.norm1)
            qkv = weights.qkv(normed.to(dtype).view(-1, width)).view(batch, tokens, 3, heads, -1)
            q, k, v = qkv.permute(2, 0, 3, 1, 4).reshape(3, batch * heads, tokens, -1)
            share = torch.bmm(q, k.transpose(1, 2)).softmax(dim=-1)
            mixed = torch.bmm(share, v).view(batch, heads, tokens, -1).transpose(1, 2).reshape(batch * tokens, -1)
            middle = x + weights.proj(mixed).view_as(x)
            normed, mean2, rstd2 = _normed(middle, weights.norm2)
            hidden = weights.fc1(normed.to(dtype).view(-1, width))
            output = middle + weights.fc2(functional.gelu(hidden)).view_as(x)
        if ctx.needs_input_grad[0]:
            ctx.weights = weights
            ctx.save_for_backward(x, mean1, rstd1, q, k, v, share, middle, mean2, rstd2, hidden)
        return output

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """Return the gradient of the input."""
        x, mean1, rstd1, q, k, v, share, middle, mean2, rstd2, hidden = ctx.saved_tensors
        weights: Weights = ctx.weights
        batch, tokens, width = x.shape
        dtype, heads = weights.qkv.weight.dtype, weights.heads
        inner = gradient.to(dtype).reshape(-1, width) @ weights.fc2.weight
        inner = torch.ops.aten.gelu_backward(inner, hidden) @ weights.fc1.weight
        middles = _norm_gradient(inner.float().view_as(x), middle, weights.norm2, mean2, rstd2).add_(gradient)
        outer = (middles.to(dtype).view(-1, width) @ weights.proj.weight).view(batch, tokens, heads, -1)
        outer = outer.transpose(1, 2).reshape(batch * heads, tokens, -1)
        parts = torch.empty((3, *q.shape), dtype=dtype, device=x.device)
        torch.bmm(share.transpose(1, 2), outer, out=parts[2])
        scores = torch._softmax_backward_data(torch.bmm(outer, v.transpose(1, 2)), share, -1, dtype)
        torch.bmm(scores, k, out=parts[0])
        torch.bmm(scores.transpose(1, 2), q, out=parts[1])
        flat = parts.view(3, batch, heads, tokens, -1).permute(1, 3, 0, 2, 4).reshape(batch * tokens, -1)
        inner = (flat @ weights.qkv.weight).float().view_as(x)
        return _norm_gradient(inner, x, weights.norm1, mean1, rstd1).add_(middles), None
