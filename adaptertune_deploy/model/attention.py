"""How timm's blocks compute attention: by torch's one fused function, or as plain matrix products and a softmax."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from torch import nn


@contextlib.contextmanager
def plain_attention(network: nn.Module) -> Iterator[None]:
    """Let timm write attention as q * scale, MatMul, Softmax, MatMul while the context is open.

    The same function up to rounding; it keeps batch x heads x tokens x tokens products in memory.
    """
    fused: list[Any] = [module for module in network.modules() if getattr(module, "fused_attn", False) is True]
    for module in fused:
        module.fused_attn = False
    try:
        yield
    finally:
        for module in fused:
            module.fused_attn = True
