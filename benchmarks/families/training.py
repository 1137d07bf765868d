"""One training step of every family that exports: which of them take which of the fast ways, as a page.

    python -m benchmarks.families.training

Networks have two blocks and drawn weights: what is shown is that a step learns, and how it computes, not how well. The
suite takes the same steps and compares the page with what it finds.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import timm
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.nn import functional

from adaptertune_deploy.core.spec import AdapterSpec, TaskSpec
from adaptertune_deploy.model.adapted import AdaptedViT
from adaptertune_deploy.model.backbone import Backbone, weights_sha256
from adaptertune_deploy.model.common_part import has_common_part
from adaptertune_deploy.model.frozen_block import fits
from adaptertune_deploy.model.last_block import allows
from adaptertune_deploy.train.device.device import Device
from adaptertune_deploy.train.loop.proofs import prove_frozen, prove_start
from adaptertune_deploy.train.loop.stepper import Stepper
from adaptertune_deploy.train.request.recipe import Recipe
from benchmarks import documents
from benchmarks.families.parity import load
from benchmarks.families.table import FAMILIES, Family

PAGE = documents.page("training-families")
CPU = torch.device("cpu")
DEPTH, IMAGES, CLASSES = 2, 3, 3
HEAD = """# Training, family by family

Written by `python -m benchmarks.families.training`, compared by `tests/benchmarks/families/test_training.py`; do not
edit.

Every family of timm's Vision Transformers that exports takes a training step in the tests, in float32 and in bf16, with
adapters after every block, at each image size of the table: the start equals the backbone bit for bit, every adapter
learns, nothing frozen changes, and the gradients are autograd's. "Own gradient": blocks run on a CPU in bf16 as one
function with its gradient written out. "Class token alone": the last block computes nothing else. "Views":
`--views` can keep what lies before the first adapter. Families without them train the usual way.

| family | timm name | pixels | own gradient | class token alone | views |
|---|---|---:|---|---|---|
"""


@dataclass(frozen=True)
class Step:
    """What one training step came to.

    adapters: that got a gradient.
    unchanged: tensors of the backbone.
    learned: trained tensors that changed.
    error: of the gradients, the largest |difference| from autograd's in float32, relative to each tensor's largest.
    """

    adapters: int
    unchanged: int
    learned: int
    error: float


@contextmanager
def shallow() -> Iterator[None]:
    """Let timm build every architecture with two blocks."""
    create: Any = timm.create_model
    timm.create_model = lambda *args, **given: create(*args, **{"depth": DEPTH, **given})
    try:
        yield
    finally:
        timm.create_model = create


def take_step(backbone: Backbone, precision: str) -> Step:
    """Train one step, as training does it, from a start whose `up` is not zero; see Step."""
    labels = tuple(f"class {number}" for number in range(CLASSES))
    shape = AdapterSpec(2, 1.0, tuple(range(backbone.spec.depth)))
    torch.manual_seed(0)
    model = AdaptedViT(backbone, TaskSpec("step", labels, shape))
    images, targets = torch.randn(IMAGES, 3, *backbone.spec.image_size), torch.arange(IMAGES)
    prove_start(model.eval(), images)
    with torch.no_grad():
        for adapter in model.adapters.values():
            up: Any = adapter.get_submodule("up")
            up.weight.normal_(std=0.05)
    frozen = weights_sha256(backbone.module)
    expected = _gradients(model.train(), images, targets)
    before = {name: value.detach().clone() for name, value in model.trainable().items()}
    device = Device(CPU, precision)
    stepper = Stepper(model, Recipe(clip=float("inf")), device, 2)
    with device.fast_steps(backbone, model):
        stepper.step(images, targets, None)
    return Step(
        adapters=stepper.adapters_with_gradient,
        unchanged=prove_frozen(model.backbone, frozen),
        learned=sum(not torch.equal(value, before[name]) for name, value in model.trainable().items()),
        error=max(_distance(value.grad, expected[name]) for name, value in model.trainable().items()),
    )


def row(family: Family, backbone: Backbone) -> str:
    """Return a family's line of the table."""
    network: Any = backbone.module
    cells = (
        family.label,
        family.timm,
        ", ".join(map(str, family.sizes)),
        "yes" if all(fits(block) for block in network.blocks) else "",
        "yes" if allows(network) else "",
        "yes" if has_common_part(network) else "",
    )
    return f"| {' | '.join(cells)} |\n"


def _gradients(model: AdaptedViT, images: Tensor, targets: Tensor) -> dict[str, Tensor]:
    functional.cross_entropy(model(images), targets).backward()  # type: ignore[no-untyped-call]
    found = {name: value.grad.clone() for name, value in model.trainable().items() if value.grad is not None}
    model.zero_grad()
    return found


def _distance(found: Tensor | None, expected: Tensor) -> float:
    if found is None:
        return float("inf")
    return float((found - expected).abs().max() / expected.abs().max())


def main() -> int:
    """Take the steps and write the page."""
    lines = []
    with shallow():
        for family in track(FAMILIES, "families", console=Console(stderr=True)):
            for size in family.sizes:
                backbone = load(family, size, None)
                take_step(backbone, "fp32")
            lines.append(row(family, backbone))
    PAGE.write_text(HEAD + "".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
