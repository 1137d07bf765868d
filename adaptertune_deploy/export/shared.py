"""The shared form: one frozen backbone graph whose adapter slots are filled from the bank at run time (core.bank)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from adaptertune_deploy.core import bank, graph_facts
from adaptertune_deploy.core.adapter import tensor_name
from adaptertune_deploy.core.graph_facts import GraphFacts
from adaptertune_deploy.export.graph import Arguments, GraphInput, to_onnx
from adaptertune_deploy.model.adapted import after_blocks, pooled_features
from adaptertune_deploy.model.backbone import Backbone

# Sizes to trace with: all different, since torch.export takes equal sizes for one dimension.
SIZES = {"N": 2, "B": 3, "T": 5, "r": 7}


class SharedViT(nn.Module):
    """A backbone that takes its adapters as inputs and gives each row's features.

    Up to and including the first slot's block everything is frozen, so it runs once per image; there the rows are
    gathered, one for each question about an image, and from there on every row uses its own task's tensors.

    Args:
        module: the timm model.
        slots: indices of the blocks with an adapter after them, ascending.
    """

    def __init__(self, module: nn.Module, slots: Sequence[int]) -> None:
        super().__init__()
        self.backbone = module
        self.slots = tuple(slots)

    def forward(self, images: Tensor, image: Tensor, task: Tensor, tensors: tuple[Tensor, ...]) -> Tensor:
        """Return features (B, F) float32; the inputs are those of core.bank, in its order."""
        held = dict(zip(bank.bank_names(self.slots), tensors, strict=True))

        def rows(name: str) -> Tensor:
            return held[name].index_select(0, task)

        actions = {block: _slot(block, rows) for block in self.slots}
        first = self.slots[0]
        actions[first] = _after_gather(image, actions[first])
        with after_blocks(self.backbone, actions):
            return pooled_features(self.backbone, images)


def export_shared(backbone: Backbone, slots: Sequence[int]) -> bytes:
    """Return the ONNX file of a backbone with adapter slots after these blocks.

    Raises:
        ExportError: the backbone can't be traced to plain ONNX.
    """
    spec = backbone.spec
    facts = GraphFacts(graph_facts.FORMAT_VERSION, spec, backbone.preprocess, tuple(slots))
    shapes = bank.input_shapes(slots, spec.width)
    arguments: Arguments = [
        GraphInput(bank.IMAGES, torch.zeros(SIZES["N"], 3, *spec.image_size), {0: "N"}),
        GraphInput(bank.IMAGE, torch.arange(SIZES["B"]) % SIZES["N"], {0: "B"}),
        GraphInput(bank.TASK, torch.arange(SIZES["B"]) % SIZES["T"], {0: "B"}),
        tuple(_bank_input(name, shape) for name, shape in shapes.items()),
    ]
    network = SharedViT(backbone.module, slots).eval()
    return to_onnx(network, arguments, bank.FEATURES, {}, graph_facts.to_metadata(facts), spec.name)


def _bank_input(name: str, shape: Sequence[int | str]) -> GraphInput:
    example = torch.zeros([size if isinstance(size, int) else SIZES[size] for size in shape])
    return GraphInput(name, example, {axis: size for axis, size in enumerate(shape) if isinstance(size, str)})


def _slot(block: int, rows: Callable[[str], Tensor]) -> Callable[[Tensor], Tensor]:
    def adapt(x: Tensor) -> Tensor:
        hidden = x @ rows(tensor_name(block, "down", "weight")) + rows(tensor_name(block, "down", "bias")).unsqueeze(1)
        branch = functional.gelu(hidden) @ rows(tensor_name(block, "up", "weight"))
        return x + (branch + rows(tensor_name(block, "up", "bias")).unsqueeze(1))

    return adapt


def _after_gather(image: Tensor, action: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda x: action(x.index_select(0, image))
