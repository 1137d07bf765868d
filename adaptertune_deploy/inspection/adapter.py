"""What an adapter folder holds: its task, its candidates, its tensors, and whether they are those of its config."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

from adaptertune_deploy.core.adapter import folder as artefact
from adaptertune_deploy.core.adapter import reference, samples, tuned_weights
from adaptertune_deploy.core.adapter.folder import AdapterConfig
from adaptertune_deploy.core.errors import AtdError
from adaptertune_deploy.inspection.inspected import Inspected, Sheet, Size

FLOAT32 = 4  # bytes of each number of such a file


def fits(path: Path) -> bool:
    """Return whether a path is an adapter folder, or one of its two files."""
    return (_folder(path) / artefact.CONFIG_NAME).is_file()


def inspect(path: Path) -> Inspected:
    """Read an adapter folder; what differs from its config is a fault.

    Raises:
        FormatError: the config can't be read.
    """
    folder = _folder(path)
    config = artefact.read_config(folder)
    faults, here = _faults(folder, config)
    tensors = config.identity.shapes
    numbers = sum(math.prod(shape) for shape in tensors.values())
    size = numbers * FLOAT32 + tuned_weights.bytes_in(folder)
    facts = {
        **dataclasses.asdict(config),
        "tensors": {name: {"dtype": "float32", "shape": list(shape)} for name, shape in tensors.items()},
        "parameters": numbers,
        "bytes": size,
        "samples_here": here,
        "identity_sha256": config.identity.sha256,
        "faults": faults,
    }
    task, backbone = config.task, config.backbone
    summary = (
        ("task", f"{task.name}, {len(task.labels)} labels: {_some(task.labels)}"),
        ("ships", f"{config.ships} (temperature {config.shipped().temperature:.3g})"),
        ("adapters", _adapters(config)),
        (
            "backbone",
            f"{backbone.name}, {backbone.image_size[0]} x {backbone.image_size[1]}, {backbone.sha256[:12]}...",
        ),
        ("trained on", f"{config.dataset.name}: {config.dataset.train:,} images, {config.dataset.test:,} for the test"),
        ("tensors", f"{len(tensors)} of float32, {numbers:,} numbers, {config.tensors_sha256[:12]}..."),
        ("size", Size(size)),
        ("samples", f"{here} of {len(config.samples)} are on this machine{_reference(config)}"),
    )
    return Inspected("adapter", facts, summary, (_tensors(tensors), _metrics(config.metrics)), tuple(faults))


def _folder(path: Path) -> Path:
    own = (artefact.CONFIG_NAME, artefact.MODEL_NAME)
    return path.parent if path.name in own and path.is_file() else path


def _faults(folder: Path, config: AdapterConfig) -> tuple[list[str], int]:
    """Return what is wrong with the folder's files, and how many of its samples are on this machine."""
    faults: list[str] = []
    for read in (
        lambda: artefact.read_adapter(folder),
        lambda: reference.read_reference(folder, config),
        lambda: tuned_weights.check(folder, config),
    ):
        try:
            read()
        except AtdError as error:
            faults.append(str(error))
    return faults, len(samples.find(folder, config.samples))


def _adapters(config: AdapterConfig) -> str:
    adapter = config.task.adapter
    if config.tuned_sha256:
        return f"none: the whole backbone was fine-tuned, its weights are {config.tuned_sha256[:12]}..."
    if not adapter.rank:
        return "none: a head only was trained"
    blocks = ", ".join(map(str, adapter.blocks))
    nested = f" (nested: {', '.join(str(width.rank) for width in config.widths)})" if config.widths else ""
    return f"rank {adapter.rank}{nested}, alpha {adapter.alpha:g}, after blocks {blocks} of {config.backbone.depth}"


def _reference(config: AdapterConfig) -> str:
    return ", with torch's answers to them" if config.reference_sha256 else ", without torch's answers"


def _tensors(shapes: dict[str, tuple[int, ...]]) -> Sheet:
    rows = tuple(
        (name, " x ".join(map(str, shape)), Size(FLOAT32 * math.prod(shape))) for name, shape in shapes.items()
    )
    return Sheet("tensors, float32", ("tensor",), ("shape", "size"), rows)


def _metrics(metrics: dict[str, Any]) -> Sheet:
    return Sheet(
        "measured when it was trained",
        ("metric",),
        ("value",),
        tuple((name, f"{value:.4g}") for name, value in sorted(metrics.items())),
    )


def _some(labels: tuple[str, ...], most: int = 4) -> str:
    more = f" and {len(labels) - most} more" if len(labels) > most else ""
    return ", ".join(labels[:most]) + more
