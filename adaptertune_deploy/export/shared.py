"""The shared form: one frozen backbone graph whose adapter slots are filled at run time (core.adapter.bank)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.core.adapter.identity import tensor_name
from adaptertune_deploy.core.bundle import graph_facts
from adaptertune_deploy.core.bundle.graph_facts import GraphFacts
from adaptertune_deploy.export.graph import Arguments, GraphInput, to_onnx
from adaptertune_deploy.model.adapted import after_blocks, pooled_features
from adaptertune_deploy.model.backbone import Backbone

# Sizes to trace with: all different, since torch.export takes equal sizes for one dimension.
SIZES = {"N": 2, "B": 3, "T": 5, "r": 7}


class Slot(nn.Module):
    """One block's adapters, each row with its own task's tensors: x + up(GELU(down(x))), alpha folded into `up`."""

    def forward(self, x: Tensor, task: Tensor, down: Tensor, down_bias: Tensor, up: Tensor, up_bias: Tensor) -> Tensor:
        """Return (B, S, D) for x (B, S, D) and the slots' tensors, of which `task` (B) takes each row's."""
        down, down_bias, up, up_bias = (rows.index_select(0, task) for rows in (down, down_bias, up, up_bias))
        branch = functional.gelu(x @ down + down_bias.unsqueeze(1)) @ up
        return x + (branch + up_bias.unsqueeze(1))


class SharedViT(nn.Module):
    """A backbone that takes its adapters as inputs; heads are applied to its features, outside.

    Up to and including the first slot's block everything is frozen, so it runs once per image; there the rows are
    gathered, one for each question about an image, and from there on every row uses its own task's tensors.

    Args:
        module: the timm model.
        slots: indices of the blocks with an adapter after them, ascending; at least one.
    """

    def __init__(self, module: nn.Module, slots: Sequence[int]) -> None:
        super().__init__()
        self.backbone = module
        self.slots = tuple(slots)
        # So nested, the traced nodes of an adapter belong to the module "blocks.{l}.adapter".
        self.blocks = nn.ModuleDict({str(block): nn.ModuleDict({"adapter": Slot()}) for block in self.slots})

    def forward(self, images: Tensor, image: Tensor, task: Tensor, tensors: tuple[Tensor, ...]) -> Tensor:
        """Return features (B, features) float32; the inputs are those of core.adapter.bank, in its order."""
        held = dict(zip(bank.bank_names(self.slots), tensors, strict=True))
        actions = {block: self._slot(block, held, task) for block in self.slots}
        first = self.slots[0]
        actions[first] = _after_gather(image, actions[first])
        with after_blocks(self.backbone, actions):
            return pooled_features(self.backbone, images)

    def _slot(self, block: int, held: dict[str, Tensor], task: Tensor) -> Callable[[Tensor], Tensor]:
        tensors = [held[tensor_name(block, side, kind)] for side in ("down", "up") for kind in ("weight", "bias")]
        slot = self.get_submodule(f"blocks.{block}.adapter")
        return lambda x: slot(x, task, *tensors)


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
    weights = {name: tensor.detach().numpy() for name, tensor in backbone.module.state_dict().items()}
    network = SharedViT(backbone.module, slots).eval()
    return to_onnx(network, arguments, bank.FEATURES, graph_facts.to_metadata(facts), spec.name, weights)


def _bank_input(name: str, shape: Sequence[int | str]) -> GraphInput:
    example = torch.zeros([size if isinstance(size, int) else SIZES[size] for size in shape])
    return GraphInput(name, example, {axis: size for axis, size in enumerate(shape) if isinstance(size, str)})


def _after_gather(image: Tensor, action: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda x: action(x.index_select(0, image))
