"""The adapter and its equation (AdapterTune, arXiv 2603.14706)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from adaptertune_deploy.model.dropping import Dropping


class Adapter(nn.Module):
    """The residual branch  A(x) = alpha * up(GELU(down(x))).

    `down` starts Xavier-uniform; `up` and both biases start at zero, so a network with new adapters computes exactly
    what it computed without them. GELU is the exact form with erf: the branch is not linear and can't be folded into
    the block's weights.

    Args:
        width: D, channels of a token.
        rank: r, width of the bottleneck.
        alpha: scale of the branch, not trained.

    Attributes:
        closed: bool, broadcast to (batch, tokens, rank): hidden units that are taken as zero; None for none
            (model.nested).
        at_once: whether x + A(x) is computed as one function (model.residual).
    """

    def __init__(self, width: int, rank: int, alpha: float) -> None:
        super().__init__()
        self.alpha = alpha
        self.closed: Tensor | None = None
        self.at_once = False
        self.down = nn.Linear(width, rank)
        self.up = nn.Linear(rank, width)
        nn.init.xavier_uniform_(self.down.weight)
        for tensor in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(tensor)

    def forward(self, x: Tensor, dropping: Dropping | None = None, block: int = 0) -> Tensor:
        """Return the branch's value for tokens `x`, both (batch, tokens, width).

        Args:
            x: the block's output.
            dropping: what to leave out while training; None keeps everything.
            block: index of the block, by which `dropping` draws.
        """
        hidden = functional.gelu(self.down(x))
        if self.closed is not None:
            hidden = hidden.masked_fill(self.closed, 0)
        branch: Tensor = self.up(hidden if dropping is None else dropping.channels(hidden, block))
        if dropping is not None:
            branch = dropping.branch(branch, block)
        return branch if self.alpha == 1.0 else self.alpha * branch


def count_parameters(module: nn.Module) -> int:
    """Return the number of elements in all parameters of a module."""
    return sum(parameter.numel() for parameter in module.parameters())


def device_of(module: nn.Module) -> torch.device:
    """Return the device that holds a module's parameters."""
    return next(module.parameters()).device
