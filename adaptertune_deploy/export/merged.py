"""The merged form: one task's adapters and head in one self-contained graph, `images` [N, 3, H, W] -> `logits` [N, C].

"Merged" means one file: the GELU keeps an adapter from being folded into the block's own weights.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from adaptertune_deploy.core import bank, graph_facts
from adaptertune_deploy.core.adapter import Adapter, tensor_name
from adaptertune_deploy.core.graph_facts import GraphFacts
from adaptertune_deploy.core.tensors import Array
from adaptertune_deploy.export.graph import GraphInput, to_onnx
from adaptertune_deploy.model.adapted import after_blocks, pooled_features
from adaptertune_deploy.model.backbone import Backbone


class MergedViT(nn.Module):
    """A backbone with one task's tensors as constants in graph layout: [in, out], alpha and temperature folded in.

    So an adapter becomes MatMul, Add, Gelu, MatMul, Add, Add, with no transpose and no multiplication by alpha; a task
    of rank 0 becomes the plain backbone and a head.

    Args:
        module: the timm model.
        adapter: the task.
    """

    def __init__(self, module: nn.Module, adapter: Adapter) -> None:
        super().__init__()
        self.backbone = module
        self.blocks = adapter.task.adapter.blocks
        self.names: dict[str, str] = {}
        for name, value in bank.folded(adapter).items():
            self.names[name] = name.replace(".", "_")
            self.register_buffer(self.names[name], _tensor(value))

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, C) for images (N, 3, H, W) float32."""
        with after_blocks(self.backbone, {block: self._branch(block) for block in self.blocks}):
            features = pooled_features(self.backbone, images)
        return torch.addmm(self._constant(bank.HEAD_BIAS), features, self._constant(bank.HEAD_WEIGHT))

    def _branch(self, block: int) -> Callable[[Tensor], Tensor]:
        down, down_bias, up, up_bias = (
            self._constant(tensor_name(block, side, kind)) for side in ("down", "up") for kind in ("weight", "bias")
        )
        return lambda x: x + (functional.gelu(x @ down + down_bias) @ up + up_bias)

    def _constant(self, name: str) -> Tensor:
        return self.get_buffer(self.names[name])


def export_merged(backbone: Backbone, adapter: Adapter) -> bytes:
    """Return the ONNX file of one task.

    Raises:
        ExportError: the backbone can't be traced to plain ONNX.
    """
    task = adapter.task
    network = MergedViT(backbone.module, adapter).eval()
    facts = GraphFacts(graph_facts.FORMAT_VERSION, backbone.spec, backbone.preprocess, task.adapter.blocks, task)
    images = GraphInput(bank.IMAGES, torch.zeros(2, 3, *backbone.spec.image_size), {0: "N"})
    renames = {buffer: name for name, buffer in network.names.items()}
    return to_onnx(network, [images], bank.LOGITS, renames, graph_facts.to_metadata(facts), backbone.spec.name)


def _tensor(value: Array) -> Tensor:
    return torch.from_numpy(value.copy())
