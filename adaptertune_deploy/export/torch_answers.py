"""What an export takes from torch, all at once: afterwards its network is gone, and engines have the memory."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from adaptertune_deploy.core.answers.known_image import known_image
from adaptertune_deploy.core.bundle import folder as bundle
from adaptertune_deploy.core.images.preprocess import normalised
from adaptertune_deploy.core.progress import Progress
from adaptertune_deploy.core.spec import BackboneSpec
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.export.plan import Plan
from adaptertune_deploy.export.reference import expected_logits
from adaptertune_deploy.export.shared import export_shared
from adaptertune_deploy.model.backbone import load_backbone
from adaptertune_deploy.model.reference import torch_logits


@dataclass(frozen=True, eq=False)
class TorchAnswers:
    """What torch gives to an export; its network need not be held any longer.

    spec: of the backbone.
    expected: logits [N, C] for each task.
    known: logits [C] for each task, of core.answers.known_image.
    traced: the shared graph in fp32, out of which every other graph is made.
    """

    spec: BackboneSpec
    expected: Sequence[Array]
    known: Sequence[Array]
    traced: bytes


def ask_torch(plan: Plan, images: Array, weights: Path | None, allow_random: bool, progress: Progress) -> TorchAnswers:
    """Load the backbone, take its answers and its graph, and let it go.

    Args:
        plan: of the export.
        images: float32 [N, 3, H, W], preprocessed.
        weights: see exporter.export_bundle.
        allow_random: see exporter.export_bundle.
        progress: told about the answers, and that the graph is being traced.

    Raises:
        BackboneError, FormatError: the backbone can't be loaded, or is another than the adapters were trained on.
        ParityError: torch answers otherwise than when a task was trained.
        ExportError: the backbone can't be traced.
    """
    found = _ask(plan, images, weights, allow_random, progress)
    gc.collect()  # tracing leaves cycles that hold the network's weights
    return found


def _ask(plan: Plan, images: Array, weights: Path | None, allow_random: bool, progress: Progress) -> TorchAnswers:
    first = plan.sources[0].config
    backbone = load_backbone(
        first.backbone.name,
        plan.sources[0].weights or weights,
        image_size=first.backbone.image_size,
        sha256=first.backbone.sha256,
        allow_random=allow_random,
    )
    for source in plan.sources:
        bundle.check_same_model(source.config, backbone.spec, first.preprocess, "the loaded backbone")
    expected = expected_logits(plan, backbone, images, progress)
    progress("shared graph", 0, 2)
    image = normalised(known_image(first.preprocess.size), first.preprocess)[None]
    known = [torch_logits(backbone, source.adapter, image)[0] for source in plan.sources]
    return TorchAnswers(backbone.spec, expected, known, export_shared(backbone, plan.slots))
