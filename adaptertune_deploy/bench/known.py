"""Samples of a bundle's tasks with torch's answers, which lie in the adapters' folders and not in the bundle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from adaptertune_deploy.core.adapter import folder as artefact
from adaptertune_deploy.core.adapter.identity import Identity
from adaptertune_deploy.core.adapter.reference import KnownAnswers, known_answers
from adaptertune_deploy.core.bundle.manifest import Manifest, TaskRecord
from adaptertune_deploy.core.storage.files import sha256_bytes
from adaptertune_deploy.core.storage.tensors import Array

IMAGES = 64  # of all tasks: enough to see a precision that changes answers, in a second or two on a small machine


@dataclass(frozen=True, eq=False)
class Known:
    """A task of a bundle, and what torch answered about images of it."""

    record: TaskRecord
    answers: KnownAnswers


def find_known(adapters: Path, manifest: Manifest, records: tuple[TaskRecord, ...]) -> tuple[list[Known], list[str]]:
    """Return what is known of these tasks, and why nothing is of the others.

    Args:
        adapters: the folder that holds the adapters' folders.
        manifest: the bundle's.
        records: tasks of it.

    Raises:
        FormatError: an adapter's folder is damaged.
    """
    most = max(1, IMAGES // len(records)) if records else 0
    found, reasons = [], []
    for record in records:
        name, folder = record.task.name, adapters / record.task.name
        if not (folder / artefact.CONFIG_NAME).exists():
            reasons.append(f"{name}: no adapter folder {folder}")
            continue
        ship = _candidate(folder, manifest, record)
        if ship is None:
            reasons.append(f"{name}: {folder} holds another training than the bundle")
            continue
        answers = known_answers(folder, artefact.read_config(folder), ship, most)
        if answers is None:
            reasons.append(f"{name}: {folder} has no answers of torch's, or its images are not on this machine")
            continue
        found.append(Known(record, answers))
    return found, reasons


def _candidate(folder: Path, manifest: Manifest, record: TaskRecord) -> str | None:
    """Return which candidate of an adapter's folder a bundle holds, to the byte; None where it holds none of them."""
    for ship in artefact.read_config(folder).candidates:
        config, adapter = artefact.read_adapter(folder, ship)
        identity = Identity(adapter.task, config.backbone, config.preprocess)
        same_model = (config.backbone, config.preprocess) == (manifest.backbone, manifest.preprocess)
        if same_model and sha256_bytes(artefact.pack(adapter.tensors, identity)) == record.sha256:
            return ship
    return None


def images_for(known: list[Known], count: int, size: tuple[int, int]) -> Array:
    """Return so many preprocessed images to time with, float32 [count, 3, H, W]: samples in turn, noise without any."""
    if not known:
        noise: Array = np.random.default_rng(0).normal(size=(count, 3, *size)).astype(np.float32)
        return noise
    there = np.concatenate([entry.answers.images for entry in known])
    return np.ascontiguousarray(there[np.arange(count) % len(there)])
