"""Measure a task that was trained before, on the very split that its training made."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from adaptertune_deploy.core.adapter import tuned_weights
from adaptertune_deploy.core.adapter.folder import Adapter, AdapterConfig, read_adapter, weights_of
from adaptertune_deploy.core.errors import DatasetError, UsageError
from adaptertune_deploy.core.progress import Progress, silent
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.data.bad import drop_bad
from adaptertune_deploy.data.batches.loader import evaluation_loader
from adaptertune_deploy.data.datasets import open_dataset
from adaptertune_deploy.data.division.splits import Splits
from adaptertune_deploy.data.division.splits import split as make_splits
from adaptertune_deploy.data.duplicates import TRAIN, contents_of
from adaptertune_deploy.data.looks.quick import look
from adaptertune_deploy.data.names.whereabouts import find_dataset
from adaptertune_deploy.data.pixels.cache import PixelCache
from adaptertune_deploy.data.samples import Dataset, Split, Targets
from adaptertune_deploy.model.adapted import AdaptedViT
from adaptertune_deploy.model.adapter import count_parameters
from adaptertune_deploy.model.backbone import reload_backbone
from adaptertune_deploy.train.device.device import choose_device
from adaptertune_deploy.train.evaluation.evaluate import outputs
from adaptertune_deploy.train.outcome.measured import Calibration, Measure
from adaptertune_deploy.train.outcome.scores import score

BATCH = 64


@dataclass(frozen=True)
class EvaluateRequest:
    """What `atd evaluate` was asked.

    folder: adapters/<task>/.
    split: "train" or "test".
    ship: the candidate to measure, "adapter" or "head"; None takes the one that ships.
    dataset, data_dir: None takes what training left (data.names.whereabouts), else data/<dataset>.
    """

    folder: Path
    split: str = "test"
    ship: str | None = None
    dataset: str | None = None
    data_dir: Path | None = None
    weights: Path | None = None
    device: str = "auto"
    allow_missing: bool = False
    skip_bad: bool = False
    allow_random: bool = False


@dataclass(frozen=True)
class Evaluation:
    """One candidate on a split, in float32.

    split: its name.
    candidate: "head" or "adapter".
    measure: with the temperature that ships.
    frozen: number of the backbone's parameters.
    config: the adapter folder's.
    notes: what a person should read.
    """

    split: str
    candidate: str
    measure: Measure
    frozen: int
    config: AdapterConfig
    notes: tuple[str, ...]


def evaluate_task(request: EvaluateRequest, progress: Progress = silent) -> Evaluation:
    """Read an adapter folder and its dataset and measure one candidate on one split.

    Raises:
        FormatError, BackboneError, DatasetError: what the folder names can't be had.
        DatasetError: the dataset's labels, its split or the labels of its images differ from those of the training.
        UsageError: no such candidate or split, or it is not known where the images are.
    """
    config, adapter = read_adapter(request.folder, request.ship)
    device = choose_device(request.device, "fp32")
    pixels = PixelCache(config.preprocess)
    part, notes = open_split(request, config, pixels, progress)
    weights = weights_of(request.folder, config) or request.weights
    backbone = reload_backbone(config.backbone, weights, allow_random=request.allow_random)
    model = AdaptedViT(backbone, adapter.task)
    model.load(adapter)
    model.to(device.torch).eval()
    loader = evaluation_loader(part, pixels, BATCH, progress=progress)
    served, targets = outputs(model, loader, device, f"evaluate on {request.split}", progress)
    return Evaluation(
        split=request.split,
        candidate=request.ship or config.ships,
        measure=measured(served, targets, adapter.task.temperature, trained_numbers(request.folder, config, adapter)),
        frozen=count_parameters(backbone.module),
        config=config,
        notes=(*notes, *pixels.notes),
    )


def measured(served: Array, targets: Targets, temperature: float, parameters: int) -> Measure:
    """Return how good served logits [images, classes] are, which the temperature has divided already."""
    after, before = score(served, targets), score(served * np.float32(temperature), targets)
    calibration = Calibration(temperature, before.loss, after.loss, before.calibration_error, after.calibration_error)
    return Measure(after, calibration, parameters)


def trained_numbers(folder: Path, config: AdapterConfig, adapter: Adapter) -> int:
    """Return how many numbers were trained of what ships, those of a fine-tuned backbone among them.

    Args:
        folder: adapters/<task>/.
        config: as read_adapter returns it.
        adapter: what ships.

    Raises:
        FormatError: the folder lacks the fine-tuned backbone, or it is damaged.
    """
    weights = weights_of(folder, config)
    own = sum(tensor.size for tensor in adapter.tensors.values())
    return own if weights is None else own + tuned_weights.numbers(weights)


def open_split(
    request: EvaluateRequest, config: AdapterConfig, pixels: PixelCache, progress: Progress
) -> tuple[Split, tuple[str, ...]]:
    """Return the images of the split that a request names, and notes, after comparing them with those of the training.

    Raises:
        DatasetError, UsageError: see evaluate_task.
    """
    source, data_dir = find_dataset(config, request.dataset, request.data_dir)
    dataset = open_dataset(source, data_dir, config.task.name, request.allow_missing, progress)
    if dataset.labels != config.task.labels:
        pairs = itertools.zip_longest(dataset.labels, config.task.labels, fillvalue="none")
        differing = next(pair for pair in pairs if pair[0] != pair[1])
        raise DatasetError(
            f"dataset '{source}' has {len(dataset.labels)} labels, the task {len(config.task.labels)}, and they differ "
            f"('{differing[0]}' against '{differing[1]}' first); evaluate on the data it was trained on"
        )
    dataset = drop_bad(dataset, pixels, skip=request.skip_bad, reduced=False, progress=progress)
    splits = _divided(dataset, config.dataset.split_sha256, progress)
    if splits.sha256 != config.dataset.split_sha256:
        raise DatasetError(
            f"dataset '{source}' splits otherwise than when '{config.task.name}' was trained (sha256 "
            f"{splits.sha256[:12]}..., then {config.dataset.split_sha256[:12]}...): images came, went or changed, or "
            "their labels did; train it again"
        )
    if config.dataset.labels_sha256 not in ("", splits.labels_sha256):
        raise DatasetError(
            f"dataset '{source}' has the images that '{config.task.name}' was trained on, but labels of some of them "
            "have changed since; give them their labels back, or train it again"
        )
    parts = {"train": splits.train, "test": splits.test}
    part = parts.get(request.split)
    if part is None:
        there = " and ".join(key for key, value in parts.items() if value is not None)
        raise UsageError(f"--split {request.split}: dataset '{source}' has {there}")
    return part, (*dataset.notes, *splits.notes, *pixels.notes)


def _divided(dataset: Dataset, sha256: str, progress: Progress) -> Splits:
    """Return the division that has this hash, where there is one.

    Most datasets hold no image in two files of different bytes, and need not be looked at to be divided as they were
    for training; an older release divided all of them so.
    """
    splits = make_splits(dataset, progress)
    if splits.sha256 == sha256 or dataset.test is not None:
        return splits
    return make_splits(dataset, progress, contents_of(look(dataset.parts, progress), TRAIN))
