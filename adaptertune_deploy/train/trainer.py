"""One training run from a dataset's name to the folder adapters/<task>/."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from adaptertune_deploy.core.adapter import AdapterConfig
from adaptertune_deploy.core.errors import DatasetError
from adaptertune_deploy.core.progress import Progress, silent
from adaptertune_deploy.core.spec import AdapterSpec, TaskSpec
from adaptertune_deploy.core.tensors import Array
from adaptertune_deploy.data.datasets import check_dataset, open_dataset
from adaptertune_deploy.data.loader import EvaluationLoader, evaluation_loader, training_loader
from adaptertune_deploy.data.samples import Dataset, Split
from adaptertune_deploy.data.splits import Splits, split
from adaptertune_deploy.data.whereabouts import remember
from adaptertune_deploy.model import weights_cache
from adaptertune_deploy.model.adapted import AdaptedViT, pooled_features
from adaptertune_deploy.model.adapter import count_parameters
from adaptertune_deploy.model.backbone import Backbone, backbone_depth, load_backbone
from adaptertune_deploy.train import proofs
from adaptertune_deploy.train.artefact import write_artefact
from adaptertune_deploy.train.destination import check_destination
from adaptertune_deploy.train.device import Device, choose_device
from adaptertune_deploy.train.evaluate import Scores, outputs, score
from adaptertune_deploy.train.fit import Fit, fit
from adaptertune_deploy.train.probe import Head, Targets, fit_probe
from adaptertune_deploy.train.proofs import Proofs
from adaptertune_deploy.train.recipe import Recipe, count_epochs, place
from adaptertune_deploy.train.report import Measured
from adaptertune_deploy.train.request import TrainRequest
from adaptertune_deploy.train.usual_backbone import Choice, choose_backbone, other_weights

EVALUATION_BATCH = 64
START_PROOF_IMAGES = 8
# Validation images that are kept preprocessed, since every epoch looks at them: 445 of 224 x 224 pixels.
VALIDATION_BYTES = 1 << 28


@dataclass(frozen=True)
class TrainResult:
    """What training made: the artefact's folder and config, what was measured, and what a person should read."""

    folder: Path
    config: AdapterConfig
    measured: Measured
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Run:
    """What every step of a run needs.

    recipe: as it runs, with nothing left to choose.
    others: sentences about the tasks that lie beside this one.
    """

    dataset: Dataset
    splits: Splits
    backbone: Backbone
    device: Device
    recipe: Recipe
    others: tuple[str, ...]
    progress: Progress

    def loader(self, part: Split, keep_bytes: int = 0) -> EvaluationLoader:
        return evaluation_loader(
            part, self.backbone.preprocess, EVALUATION_BATCH, workers=self.recipe.workers, keep_bytes=keep_bytes
        )

    @property
    def heldback(self) -> tuple[str, Split]:
        """The split that scores are reported on, with its name."""
        if self.splits.test is not None:
            return "test", self.splits.test
        if self.splits.val is not None:
            return "val", self.splits.val
        raise DatasetError(
            f"dataset '{self.dataset.name}' is too small to hold images back, so nothing could be measured; add images"
        )


def train_task(
    request: TrainRequest, progress: Progress = silent, tell: Callable[[str], None] = lambda sentence: None
) -> TrainResult:
    """Train one task and write its folder; an older folder of that name is replaced only at the end.

    Args:
        request: what to train.
        progress: told as the work goes on.
        tell: called with every sentence a person should read, the dataset's licence first, before training starts;
            what train.preflight says is not repeated.

    Raises:
        DatasetError, BackboneError, UsageError: what was asked can't be had.
        TrainingError: the loss is not finite or a proof failed; nothing is written.
    """
    started = time.perf_counter()
    run = _prepare(request, progress)
    notes = _notes(run)
    for note in notes:
        tell(note)
    frozen_sha256 = run.backbone.spec.sha256
    model, head, head_scores = _start(run)
    start_images = _prove_start(run, model)
    result = _fit(run, model)
    frozen_tensors = proofs.prove_frozen(model, frozen_sha256)
    shown = Proofs(True, start_images, frozen_tensors, frozen_sha256, result.adapters_with_gradient)
    name, part = run.heldback
    scores = score(*outputs(model, run.loader(part), _exact(run.device), f"test adapter on {name}", progress))
    measured = _measured(run, model, head, (head_scores, scores), result, shown, time.perf_counter() - started)
    config = write_artefact(request.out, model, run.backbone, (run.dataset, run.splits), part, measured)
    if place_of_images := run.dataset.folder or request.data_dir:
        remember(config.tensors_sha256, place_of_images)
    return TrainResult(request.out / config.task.name, config, measured, notes)


def _prepare(request: TrainRequest, progress: Progress) -> _Run:
    """Open everything that can fail before any time is spent on training."""
    device = choose_device(request.recipe.device, request.recipe.precision)
    task, folder = check_dataset(request.dataset, request.data_dir, request.task)
    check_destination(request.out, task, folder)
    choice = choose_backbone(request.backbone, request.out, task)
    place(request.recipe.placement, backbone_depth(choice.name))  # before anything is downloaded
    dataset = open_dataset(request.dataset, request.data_dir, task, request.allow_missing, progress)
    splits = split(dataset, request.val_split)
    backbone = _load(request, choice)
    others = other_weights(backbone.spec, request.out, task)
    backbone.module.to(device.torch)
    recipe = _settled(request.recipe, len(splits.train), device)
    run = _Run(dataset, splits, backbone, device, recipe, others, progress)
    _ = run.heldback
    return run


def _load(request: TrainRequest, choice: Choice) -> Backbone:
    """Load the backbone that was asked for, with the very weights of the tasks beside it where they are kept."""
    kept = choice.sha256 if choice.sha256 and not request.weights and weights_cache.find(choice.sha256) else None
    return load_backbone(choice.name, request.weights, sha256=kept, allow_random=request.allow_random)


def _settled(recipe: Recipe, images: int, device: Device) -> Recipe:
    """Return the recipe as it runs here on so many training images: what was left open is chosen."""
    return replace(
        recipe,
        epochs=count_epochs(recipe, images, device.torch.type),
        batch_size=min(recipe.batch_size, images),
        precision=device.precision,
        device=str(device.torch),
        workers=_workers(recipe, device),
    )


def _notes(run: _Run) -> tuple[str, ...]:
    limit = "; non-commercial use only" if run.dataset.non_commercial else ""
    licence = f"licence of {run.dataset.name}: {run.dataset.licence}{limit}"
    return (licence, *run.others, *run.backbone.notes, *run.dataset.notes, *run.splits.notes)


def _start(run: _Run) -> tuple[AdaptedViT, Head, Scores]:
    """Return the network at its start, its head at the linear probe's optimum, and the probe's own scores."""
    recipe = run.recipe
    torch.manual_seed(recipe.seed)
    blocks = place(recipe.placement, run.backbone.spec.depth)
    task = TaskSpec(run.dataset.task, run.dataset.labels, AdapterSpec(recipe.rank, recipe.alpha, blocks))
    model = AdaptedViT(run.backbone, task).to(run.device.torch).eval()
    train = _frozen_features(run, run.splits.train, "train")
    val = _frozen_features(run, run.splits.val, "val") if run.splits.val is not None else None
    head = fit_probe(*train, len(task.labels), val, progress=run.progress)
    with torch.no_grad():
        model.head.weight.copy_(torch.from_numpy(head.weight))
        model.head.bias.copy_(torch.from_numpy(head.bias))
    name, part = run.heldback
    features, targets = val if name == "val" and val is not None else _frozen_features(run, part, name)
    return model, head, score(head.logits(features), targets)


def _frozen_features(run: _Run, part: Split, name: str) -> tuple[Array, Targets]:
    module = run.backbone.module
    what = f"frozen features of {name}"
    return outputs(
        lambda images: pooled_features(module, images), run.loader(part), _exact(run.device), what, run.progress
    )


def _prove_start(run: _Run, model: AdaptedViT) -> int:
    part = run.splits.train.take(np.arange(min(START_PROOF_IMAGES, len(run.splits.train))))
    batch = next(iter(run.loader(part)))
    return proofs.prove_start(model, batch.images.to(run.device.torch))


def _fit(run: _Run, model: AdaptedViT) -> Fit:
    recipe, splits = run.recipe, run.splits
    batches = training_loader(
        splits.train,
        run.backbone.preprocess,
        run.dataset.augment,
        recipe.batch_size,
        recipe.seed,
        workers=recipe.workers,
        pin=run.device.torch.type == "cuda",
        progress=run.progress,
    )
    val = run.loader(splits.val, VALIDATION_BYTES) if splits.val is not None else None
    return fit(model, batches, val, recipe, recipe.epochs, run.device, run.progress)


def _measured(
    run: _Run, model: AdaptedViT, head: Head, scores: tuple[Scores, Scores], result: Fit, shown: Proofs, seconds: float
) -> Measured:
    return Measured(
        split=run.heldback[0],
        head_only=scores[0],
        adapter=scores[1],
        fit=result,
        proofs=shown,
        recipe=run.recipe,
        augment=run.dataset.augment,
        trainable=sum(parameter.numel() for parameter in model.trainable().values()),
        frozen=count_parameters(run.backbone.module),
        penalty=head.penalty,
        precision=run.device.precision,
        device=_processor(run.device),
        seconds=seconds,
    )


def _workers(recipe: Recipe, device: Device) -> int:
    """Return the number of reading processes: none on a CPU, which has no cores to spare while it trains."""
    if recipe.workers >= 0:
        return recipe.workers
    return 0 if device.torch.type == "cpu" else min(8, torch.multiprocessing.cpu_count())


def _exact(device: Device) -> Device:
    """Return the same device in float32, for everything that is measured or stored."""
    return Device(device.torch, "fp32")


def _processor(device: Device) -> str:
    if device.torch.type == "cuda":
        return torch.cuda.get_device_name(device.torch)
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
