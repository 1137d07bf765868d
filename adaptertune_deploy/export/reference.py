"""Torch's answers for an export, and whether they are still those that training stored."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import numpy as np

from adaptertune_deploy.core.adapter.folder import Adapter, AdapterConfig
from adaptertune_deploy.core.adapter.reference import known_answers
from adaptertune_deploy.core.errors import ParityError
from adaptertune_deploy.core.precision import TOLERANCES, Precision
from adaptertune_deploy.core.progress import Progress
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.engines.verification.parity import Index, asked_pairs
from adaptertune_deploy.export.plan import Plan
from adaptertune_deploy.model.backbone import Backbone
from adaptertune_deploy.model.reference import torch_logits

SAMPLES = 2  # a library that computes something else shows on every image
# Training may have run with another torch, on another processor: rounding is allowed a few times what two engines of
# one machine differ by.
SLACK = 5.0


def expected_logits(plan: Plan, backbone: Backbone, images: Array, progress: Progress) -> tuple[Array, ...]:
    """Return torch's logits [N, C] for each task of an export, NaN in rows that parity.asked_pairs leaves out.

    Raises:
        ParityError, FormatError: see check_reference.
    """
    pairs = asked_pairs(len(images), len(plan.sources))
    answers: list[Array] = []
    for place, source in enumerate(plan.sources):
        progress("torch's answers", place, len(plan.sources))
        check_reference(backbone, source.folder, source.config, source.adapter, source.ship)
        answers.append(asked_logits(backbone, source.adapter, images, pairs[pairs[:, 1] == place, 0]))
    progress("torch's answers", len(plan.sources), len(plan.sources))
    return tuple(answers)


def asked_logits(backbone: Backbone, adapter: Adapter, images: Array, rows: Index) -> Array:
    """Return torch's logits [N, C] of a task for preprocessed images [N, 3, H, W]; NaN in all but these rows."""
    logits = np.full((len(images), len(adapter.task.labels)), np.nan, dtype=np.float32)
    chosen = np.unique(rows)
    logits[chosen] = torch_logits(backbone, adapter, images[chosen])
    return logits


def check_reference(
    backbone: Backbone, folder: Path, config: AdapterConfig, adapter: Adapter, ship: str | None
) -> None:
    """Compare torch's answers of today with those that training stored, where the folder and this machine hold any.

    Args:
        backbone: as loaded now.
        folder: the adapter folder.
        config: its config.
        adapter: what ships of it.
        ship: the candidate that ships, None for the one that the config names.

    Raises:
        ParityError: they differ by more than rounding.
        FormatError: the folder's stored answers are damaged.
    """
    known = known_answers(folder, config, ship, SAMPLES)
    if known is None:
        return
    found = torch_logits(backbone, adapter, known.images)
    difference = float(np.abs(found.astype(np.float64) - known.logits).max())
    allowed = SLACK * TOLERANCES[Precision.FP32].largest(float(np.abs(known.logits).max()))
    if not difference <= allowed:
        raise ParityError(
            f"task '{config.task.name}': torch answers otherwise than when it was trained (by up to {difference:.1e}, "
            f"expected at most {allowed:.0e}; {_changes(config)}); install what trained it, or train it again"
        )


def _changes(config: AdapterConfig) -> str:
    """Return the libraries whose versions differ from those of the training, in words."""
    changes = []
    for library in ("timm", "torch"):
        then, now = config.versions.get(library, "unknown"), importlib.metadata.version(library)
        if then != now:
            changes.append(f"{library} {now} here, {then} then")
    return " and ".join(changes) or "timm and torch are those of the training, so weights or images differ"
