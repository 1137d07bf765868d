"""Whether a network hands one sequence of tokens from block to block, which is where adapters go."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from adaptertune_deploy.core.errors import BackboneError
from adaptertune_deploy.model.names import CHOOSE


def check_blocks(module: nn.Module, name: str) -> None:
    """Raise BackboneError unless a network has a list of blocks and timm's pooling."""
    blocks = getattr(module, "blocks", None)
    if not isinstance(blocks, (nn.Sequential, nn.ModuleList)) or not hasattr(module, "forward_head"):
        raise BackboneError(f"'{name}' is not a Vision Transformer: it has no list of transformer blocks; {CHOOSE}")


@torch.no_grad()
def measure(module: Any, size: tuple[int, int], name: str, device: str = "cpu") -> tuple[int, int]:
    """Return the channels of a token and of the pooled features, as one blank image shows them.

    Attributes don't tell: timm's convolutional networks have `blocks` too, and some transformers hand on two streams
    of tokens, a grid or a width that grows.

    Args:
        module: the network; see check_blocks.
        size: (height, width) of the image in pixels.
        name: of the network, for messages.
        device: where its parameters are; "meta" computes shapes alone.

    Raises:
        BackboneError: the blocks don't hand on one sequence of tokens.
        NotImplementedError: timm's answer from an encoder without pooling.
    """
    outputs: list[Any] = []
    handles = [
        block.register_forward_hook(lambda _block, _inputs, output: outputs.append(output)) for block in module.blocks
    ]
    try:
        image = torch.zeros(1, 3, *size, device=device)
        features = module.forward_head(module.forward_features(image), pre_logits=True)
    finally:
        for handle in handles:
            handle.remove()
    widths = {output.shape[2] if isinstance(output, Tensor) and output.ndim == 3 else 0 for output in outputs}
    if len(outputs) != len(handles) or len(widths) != 1 or 0 in widths or features.ndim != 2:
        raise BackboneError(
            f"'{name}' is not a plain Vision Transformer: its blocks don't hand on one sequence of tokens of one "
            f"width; {CHOOSE}"
        )
    return int(widths.pop()), int(features.shape[1])
