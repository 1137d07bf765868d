"""Measure a task that was trained before, on the very split that its training made."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

from adaptertune_deploy.core.adapter import AdapterConfig, read_adapter
from adaptertune_deploy.core.errors import DatasetError, UsageError
from adaptertune_deploy.core.progress import Progress, silent
from adaptertune_deploy.data.datasets import open_dataset
from adaptertune_deploy.data.loader import evaluation_loader
from adaptertune_deploy.data.samples import Split
from adaptertune_deploy.data.splits import split as make_splits
from adaptertune_deploy.data.whereabouts import find_dataset
from adaptertune_deploy.model.adapted import AdaptedViT
from adaptertune_deploy.model.backbone import load_backbone
from adaptertune_deploy.train.device import choose_device
from adaptertune_deploy.train.evaluate import Scores, outputs, score

BATCH = 64


@dataclass(frozen=True)
class EvaluateRequest:
    """What `atd evaluate` was asked.

    folder: adapters/<task>/.
    split: "train", "val", "test", or "" for test where there is one, else val.
    dataset, data_dir: None takes what training left (data.whereabouts), else data/<dataset>.
    """

    folder: Path
    split: str = ""
    dataset: str | None = None
    data_dir: Path | None = None
    weights: Path | None = None
    device: str = "auto"
    allow_missing: bool = False
    allow_random: bool = False


@dataclass(frozen=True)
class Evaluation:
    """Scores on a split, in float32."""

    split: str
    scores: Scores
    notes: tuple[str, ...]


def evaluate_task(request: EvaluateRequest, progress: Progress = silent) -> Evaluation:
    """Read an adapter folder and its dataset and measure one split.

    Raises:
        FormatError, BackboneError, DatasetError: what the folder names can't be had.
        DatasetError: the dataset's labels or split differ from those of the training.
        UsageError: the split does not exist, or it is not known where the images are.
    """
    config, adapter = read_adapter(request.folder)
    device = choose_device(request.device, "fp32")
    name, part, notes = _open_split(request, config, progress)
    backbone = load_backbone(
        config.backbone.name, request.weights, sha256=config.backbone.sha256, allow_random=request.allow_random
    )
    model = AdaptedViT(backbone, config.task)
    model.load(adapter)
    model.to(device.torch).eval()
    loader = evaluation_loader(part, config.preprocess, BATCH)
    return Evaluation(name, score(*outputs(model, loader, device, f"evaluate on {name}", progress)), notes)


def _open_split(
    request: EvaluateRequest, config: AdapterConfig, progress: Progress
) -> tuple[str, Split, tuple[str, ...]]:
    source, data_dir = find_dataset(config, request.dataset, request.data_dir)
    dataset = open_dataset(source, data_dir, config.task.name, request.allow_missing, progress)
    if dataset.labels != config.task.labels:
        pairs = itertools.zip_longest(dataset.labels, config.task.labels, fillvalue="none")
        differing = next(pair for pair in pairs if pair[0] != pair[1])
        raise DatasetError(
            f"dataset '{source}' has {len(dataset.labels)} labels, the task {len(config.task.labels)}, and they differ "
            f"('{differing[0]}' against '{differing[1]}' first); evaluate on the data it was trained on"
        )
    splits = make_splits(dataset, config.dataset.val_split)
    if splits.sha256 != config.dataset.split_sha256:
        raise DatasetError(
            f"dataset '{source}' splits otherwise than when '{config.task.name}' was trained (sha256 "
            f"{splits.sha256[:12]}..., then {config.dataset.split_sha256[:12]}...): images came or went; train it again"
        )
    parts = {"train": splits.train, "val": splits.val, "test": splits.test}
    wanted = request.split or ("test" if splits.test is not None else "val")
    part = parts.get(wanted)
    if part is None:
        there = ", ".join(key for key, value in parts.items() if value is not None)
        raise UsageError(f"--split {wanted}: dataset '{source}' has {there}")
    return wanted, part, (*dataset.notes, *splits.notes)
