"""A frozen backbone with adapters beside its blocks and a head: the network that is trained and exported."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from adaptertune_deploy.core.adapter import folder as files
from adaptertune_deploy.core.errors import BackboneError, FormatError
from adaptertune_deploy.core.spec import TaskSpec
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.model.adapter import Adapter
from adaptertune_deploy.model.backbone import Backbone
from adaptertune_deploy.model.common_part import features_after
from adaptertune_deploy.model.dropping import Dropping
from adaptertune_deploy.model.residual import residual


@contextmanager
def after_blocks(module: nn.Module, actions: Mapping[int, Callable[[Tensor], Tensor]]) -> Iterator[None]:
    """Let `actions[l]` change the output of block l, (batch, tokens, width), while the context is open.

    The actions are forward hooks: the backbone's keys, signatures and gradient rules stay what they are, whatever else
    a block's forward takes (rotary embeddings, masks).
    """

    def hook(action: Callable[[Tensor], Tensor]) -> Callable[[nn.Module, Any, Tensor], Tensor]:
        return lambda _block, _inputs, output: action(output)

    blocks: Any = module.blocks
    handles = [blocks[index].register_forward_hook(hook(action)) for index, action in actions.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def pooled_features(module: Any, images: Tensor) -> Tensor:
    """Return what a classifier sees, (batch, features), for images (batch, 3, H, W): timm's pooling and final norm."""
    features: Tensor = module.forward_head(module.forward_features(images), pre_logits=True)
    return features


class AdaptedViT(nn.Module):
    """x <- block_l(x);  x <- x + alpha * up_l(GELU(down_l(x)))  after each adapted block, then head(features) / T.

    With rank 0 there are no adapters: a head on the frozen features.
    The adapters act only inside this module's own forward, so several tasks can share one backbone module, one after
    another. The backbone stays in eval mode whatever mode this module is put in.

    Args:
        backbone: the frozen network.
        task: labels, adapter shapes and temperature T.

    Attributes:
        dropping: what adapters leave out in training mode; None keeps everything.

    Raises:
        BackboneError: the task adapts a block that the backbone does not have.
    """

    def __init__(self, backbone: Backbone, task: TaskSpec) -> None:
        super().__init__()
        spec, shape = backbone.spec, task.adapter
        if shape.blocks and shape.blocks[-1] >= spec.depth:
            raise BackboneError(
                f"task '{task.name}' adapts block {shape.blocks[-1]}, but {spec.name} has blocks 0 to {spec.depth - 1}"
            )
        self.task = task
        self.backbone = backbone.module
        self.adapters = nn.ModuleDict(
            {str(block): Adapter(spec.width, shape.rank, shape.alpha) for block in shape.blocks}
        )
        self.head = nn.Linear(spec.features, len(task.labels))
        self.dropping: Dropping | None = None

    def train(self, mode: bool = True) -> AdaptedViT:
        """Set the mode of adapters and head; the frozen backbone stays in eval mode."""
        super().train(mode)
        self.backbone.eval()
        return self

    def features(self, images: Tensor) -> Tensor:
        """Return the adapted pooled features, (batch, features).

        Args:
            images: (batch, 3, H, W) float32; or (batch, tokens, width), what model.common_part.common_tokens returns of
                them up to the first adapted block.
        """
        residuals = {int(block): self._residual(int(block)) for block in self.adapters}
        with after_blocks(self.backbone, residuals):
            if images.ndim == 4:
                return pooled_features(self.backbone, images)
            first = min(residuals)
            return features_after(self.backbone, residuals[first](images.float()), first)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (batch, classes), divided by the temperature; see `features`."""
        logits: Tensor = self.head(self.features(images))
        return logits if self.task.temperature == 1.0 else logits / self.task.temperature

    def _residual(self, block: int) -> Callable[[Tensor], Tensor]:
        """Return what a block's output becomes: x + adapter(x)."""
        adapter: Any = self.adapters[str(block)]
        dropping = self.dropping if self.training else None
        if dropping is not None:
            return lambda x: x + adapter(x, dropping, block)
        if adapter.at_once and adapter.closed is None:
            return lambda x: residual(x, adapter)
        return lambda x: x + adapter(x)

    def trainable(self) -> dict[str, nn.Parameter]:
        """Return every trained parameter under its name in adapter_model.safetensors."""
        named = {
            f"blocks.{name.replace('.', '.adapter.', 1)}": value for name, value in self.adapters.named_parameters()
        }
        named.update({f"head.{name}": value for name, value in self.head.named_parameters()})
        return named

    def export_tensors(self) -> dict[str, Array]:
        """Return a float32 copy of every trained tensor, named and laid out as in adapter_model.safetensors."""
        return {
            name: value.detach().to("cpu", torch.float32).numpy().copy() for name, value in self.trainable().items()
        }

    @torch.no_grad()
    def load(self, adapter: files.Adapter) -> None:
        """Copy what ships of a trained task into this network, which was made for it.

        Raises:
            FormatError: a tensor is missing, unknown or of another shape, as those of another task are; alpha or the
                temperature is another one.
        """
        expected = {name: tuple(parameter.shape) for name, parameter in self.trainable().items()}
        found = {name: tensor.shape for name, tensor in adapter.tensors.items()}
        if found != expected:
            first = min(name for name in {*expected, *found} if expected.get(name) != found.get(name))
            raise FormatError(
                f"task '{adapter.task.name}' does not fit the network of '{self.task.name}': tensor '{first}' has "
                f"shape {found.get(first)}, expected {expected.get(first)}"
            )
        ours, theirs = (f"{spec.adapter.alpha} and {spec.temperature}" for spec in (self.task, adapter.task))
        if ours != theirs:
            raise FormatError(
                f"task '{adapter.task.name}' does not fit the network of '{self.task.name}': alpha and temperature are "
                f"{theirs}, expected {ours}"
            )
        for name, parameter in self.trainable().items():
            parameter.copy_(torch.from_numpy(adapter.tensors[name]))
