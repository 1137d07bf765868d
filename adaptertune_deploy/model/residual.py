"""x + A(x) as one function with its gradient written out, for training on a CPU.

An adapter's products are so narrow that most of its time goes into reading and writing tokens. Autograd under autocast
does that a dozen times in each direction, to cast, to add biases and to add up; here x and the result are read and
written by the products themselves, in float32, which is more exact than autocast and takes a third of its time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from adaptertune_deploy.model.adapter import Adapter

Gradients = tuple[Tensor | None, ...]


@contextmanager
def residuals_at_once(adapters: nn.ModuleDict) -> Iterator[None]:
    """Let this module compute a network's sums x + A(x) while the context is open, unless something is dropped."""
    own = [adapter for adapter in adapters.values() if isinstance(adapter, Adapter)]
    for adapter in own:
        adapter.at_once = True
    try:
        yield
    finally:
        for adapter in own:
            adapter.at_once = False


def residual(x: Tensor, adapter: Adapter) -> Tensor:
    """Return x + adapter(x), float32, for tokens x (batch, tokens, width); no hidden unit is closed or dropped."""
    down, up = adapter.down, adapter.up
    y: Tensor = _Residual.apply(x.float(), down.weight, down.bias, up.weight, up.bias, adapter.alpha)
    return y


class _Residual(torch.autograd.Function):
    """x + alpha * (GELU(x @ down.T + down_bias) @ up.T + up_bias)."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, down: Tensor, down_bias: Tensor, up: Tensor, up_bias: Tensor, alpha: float
    ) -> Tensor:
        """Return the sum for x (batch, tokens, width), float32, as all are."""
        rows = x.reshape(-1, x.shape[-1])
        with torch.autocast(x.device.type, enabled=False):
            hidden = torch.addmm(down_bias, rows, down.t())
            # The bias is the weight of one more hidden unit, which is always 1.
            units = torch.cat([functional.gelu(hidden), hidden.new_ones(len(rows), 1)], dim=1)
            weight = alpha * torch.cat([up, up_bias[:, None]], dim=1)
            ctx.save_for_backward(rows, hidden, units, down, weight)
            ctx.alpha = alpha
            return torch.addmm(rows, units, weight.t()).view_as(x)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Gradients:
        """Return the gradients of x and of the four tensors that are trained."""
        rows, hidden, units, down, weight = ctx.saved_tensors
        flat = gradient.reshape(rows.shape)
        to_weight = ctx.alpha * (flat.t() @ units)
        to_hidden = torch.ops.aten.gelu_backward(flat @ weight[:, :-1], hidden)
        to_x = torch.addmm(flat, to_hidden, down).view_as(gradient) if ctx.needs_input_grad[0] else None
        return to_x, to_hidden.t() @ rows, to_hidden.sum(0), to_weight[:, :-1], to_weight[:, -1], None
