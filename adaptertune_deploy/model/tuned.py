"""Full fine-tuning: a backbone whose every weight is trained, with a head."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import safetensors.torch
from timm.layers.drop import DropPath
from timm.optim import param_groups_layer_decay  # type: ignore[attr-defined]
from torch import nn

from adaptertune_deploy.core.spec import TaskSpec
from adaptertune_deploy.model.adapted import AdaptedViT
from adaptertune_deploy.model.backbone import Backbone


class TunedViT(AdaptedViT):
    """The network of rank 0, head(features) / T, on a copy of the backbone that is trained with it.

    Args:
        backbone: the pretrained network, which stays as it is.
        task: without adapters.
        drop_path: share of the images that pass by a branch of the last block in training mode; the blocks before it
            drop less, in proportion to their depth (stochastic depth, arXiv 1603.09382).
    """

    def __init__(self, backbone: Backbone, task: TaskSpec, drop_path: float) -> None:
        super().__init__(replace(backbone, module=copy.deepcopy(backbone.module)), task)
        self.backbone.requires_grad_(True)
        if drop_path:
            _set_drop_path(self.backbone, drop_path)

    def train(self, mode: bool = True) -> TunedViT:
        """Set the mode of the head and of the backbone."""
        nn.Module.train(self, mode)
        return self

    def trainable(self) -> dict[str, nn.Parameter]:
        """Return every trained parameter: `backbone.<timm's name>`, then the head's as in adapter_model.safetensors."""
        own = {f"backbone.{name}": value for name, value in self.backbone.named_parameters()}
        return own | {f"head.{name}": value for name, value in self.head.named_parameters()}

    def layers(self, decay: float) -> dict[str, tuple[float, bool]]:
        """Return for each trained parameter the factor on its learning rate, and whether it has weight decay.

        Args:
            decay: a block's learning rate over that of the block after it; timm knows what belongs to which.
        """
        groups: list[dict[str, Any]] = param_groups_layer_decay(
            self.backbone, weight_decay=1.0, no_weight_decay_list=_undecayed(self.backbone), layer_decay=decay
        )
        found = {
            id(parameter): (float(group["lr_scale"]), group["weight_decay"] > 0)
            for group in groups
            for parameter in group["params"]
        }
        head = {"head.weight": (1.0, True), "head.bias": (1.0, False)}
        return {name: head.get(name) or found[id(value)] for name, value in self.trainable().items()}

    def weights_file(self) -> bytes:
        """Return the backbone's parameters and buffers as a safetensors file in timm's names, as --weights takes it."""
        state = {name: value.detach().cpu().contiguous() for name, value in self.backbone.state_dict().items()}
        return safetensors.torch.save(state)


def _undecayed(module: Any) -> set[str]:
    names = getattr(module, "no_weight_decay", set)
    return set(names())


def _set_drop_path(module: Any, share: float) -> None:
    """Put stochastic depth where timm leaves a place for it in each block."""
    blocks = list(module.blocks)
    for index, block in enumerate(blocks):
        for name in ("drop_path", "drop_path1", "drop_path2"):
            if isinstance(getattr(block, name, None), (nn.Identity, DropPath)):
                setattr(block, name, DropPath(share * index / max(1, len(blocks) - 1)))
