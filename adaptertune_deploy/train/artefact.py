"""Write the folder adapters/<task>/ of a finished run: tensors, samples and answers, report, model card, config."""

from __future__ import annotations

import importlib.metadata
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

import adaptertune_deploy
from adaptertune_deploy.core.adapter import folder as artefact
from adaptertune_deploy.core.adapter.folder import AdapterConfig
from adaptertune_deploy.core.adapter.identity import ProbeRecord
from adaptertune_deploy.core.adapter.nested import width_name
from adaptertune_deploy.core.adapter.reference import write_reference
from adaptertune_deploy.core.adapter.samples import CALIBRATION_NAME, keep
from adaptertune_deploy.core.adapter.training_record import DatasetRecord, RecipeRecord
from adaptertune_deploy.core.images.preprocess import MAX_OFFLINE_PIXELS
from adaptertune_deploy.core.images.preprocess import preprocess as preprocessed
from adaptertune_deploy.core.storage import files
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.data.names.whereabouts import recorded_name
from adaptertune_deploy.data.samples import Split
from adaptertune_deploy.model.adapted import AdaptedViT
from adaptertune_deploy.model.backbone import weights_sha256
from adaptertune_deploy.model.reference import torch_logits
from adaptertune_deploy.model.tuned import TunedViT
from adaptertune_deploy.train.outcome.card import model_card
from adaptertune_deploy.train.outcome.measured import Measured
from adaptertune_deploy.train.outcome.results import write_report
from adaptertune_deploy.train.probe.probe import Probe
from adaptertune_deploy.train.request import recipe_file
from adaptertune_deploy.train.request.recipe import FULL, Recipe, count_steps
from adaptertune_deploy.train.run import Run

SAMPLE_IMAGES = 32
CALIBRATION_IMAGES = 64


def write_artefact(
    out: Path, run: Run, asked: Recipe, probe: Probe, model: AdaptedViT | None, measured: Measured
) -> AdapterConfig:
    """Write the whole folder beside its place, then move it there; returns its config.

    Args:
        out: folder that holds the adapter folders.
        run: the data, the backbone and the recipe as it ran.
        asked: the recipe before anything was chosen for these images and this machine.
        probe: the careful probe.
        model: adapters and head; None when rank 0 was asked for.
        measured: for the report, the model card and the config.
    """
    task = (
        run.task
        if measured.adapter is None
        else replace(run.task, temperature=measured.adapter.calibration.temperature)
    )
    recipe = None if model is None else _recipe(run, probe, measured)
    images = list(chosen(run.test, task.labels))
    travel, trained_on = run.dataset.redistributable, chosen(run.splits.train, task.labels, CALIBRATION_IMAGES)
    with files.staged_directory(out / task.name) as folder:
        config = AdapterConfig(
            format_version=artefact.FORMAT_VERSION,
            task=task,
            probe=ProbeRecord(probe.head.penalty, probe.temperature),
            ships=measured.ships,
            backbone=run.backbone.spec,
            preprocess=run.backbone.preprocess,
            dataset=_record(run),
            tensors_sha256="0" * 64,
            recipe=recipe,
            metrics=_metrics(measured),
            versions=_versions(),
            samples=keep(folder, images, travel),
            calibration=keep(folder, trained_on, travel, CALIBRATION_NAME),
            widths=tuple(width.record for width in measured.widths),
            tuned_sha256=weights_sha256(model.backbone) if isinstance(model, TunedViT) else "",
        )
        tensors = _tensors(probe, model)
        config = replace(
            config,
            tensors_sha256=artefact.write_tensors(folder, tensors, config.identity),
            reference_sha256=write_reference(
                folder, _reference(run, config, tensors, model, [data for data, _, _ in images])
            ),
        )
        if isinstance(model, TunedViT):
            files.write_bytes(folder / artefact.WEIGHTS_NAME, model.weights_file())
        write_report(folder / "report", measured, task.labels, recipe)
        files.write_bytes(folder / "report" / recipe_file.NAME, recipe_file.dump(asked))
        if run.logs is not None:
            run.logs.report(folder / "report")
        card = model_card(config, measured, run.dataset, run.backbone.hub_id, out.resolve().name)
        files.write_bytes(folder / "README.md", card.encode())
        artefact.write_config(folder, config)
    if run.logs is not None:
        run.logs.remove()
    return config


def chosen(part: Split, labels: tuple[str, ...], count: int = SAMPLE_IMAGES) -> Iterator[tuple[bytes, str, str]]:
    """Yield up to `count` images of a split, evenly spread: the original file's bytes, its suffix and its label."""
    for index in np.unique(np.linspace(0, len(part) - 1, min(count, len(part))).round().astype(int)):
        yield (*part.encoded(int(index)), labels[part.targets[index]])


def _tensors(probe: Probe, model: AdaptedViT | None) -> dict[str, Array]:
    trained = {} if model is None else model.export_tensors()
    if isinstance(model, TunedViT):  # its backbone has a file of its own
        trained = {name: value for name, value in trained.items() if name.startswith("head.")}
    return {**trained, "probe.weight": probe.head.weight, "probe.bias": probe.head.bias}


def _reference(
    run: Run, config: AdapterConfig, tensors: Mapping[str, Array], model: AdaptedViT | None, images: Sequence[bytes]
) -> dict[str, Array]:
    """Return each candidate's logits for the samples, as torch computes them in float32."""
    preprocess = run.backbone.preprocess
    pixels = np.stack([preprocessed(data, preprocess, MAX_OFFLINE_PIXELS) for data in images])
    found = {name: artefact.candidate(config, tensors, name) for name in config.candidates}
    backbones = {name: run.backbone for name in found}
    if isinstance(model, TunedViT):
        backbones[artefact.FULL] = replace(run.backbone, module=model.backbone)
    return {name: torch_logits(backbones[name], one, pixels) for name, one in found.items()}


def _recipe(run: Run, probe: Probe, measured: Measured) -> RecipeRecord:
    """Return the recipe of the kept training as it really ran."""
    recipe, images = run.recipe, len(run.splits.train)
    steps = count_steps(recipe, images)
    gate = measured.gate
    return RecipeRecord(
        epochs=steps * recipe.batch_size / images,
        steps=steps,
        batch_size=recipe.batch_size,
        lr=recipe.lr,
        head_lr=recipe.lr * recipe.head_lr_scale,
        weight_decay=recipe.weight_decay,
        warmup=recipe.warmup,
        clip=recipe.clip if math.isfinite(recipe.clip) else 0.0,
        label_smoothing=recipe.label_smoothing,
        served_view=recipe.served_view,
        seed=recipe.seed,
        placement=recipe.placement,
        augment=run.dataset.augment,
        class_weights=recipe.class_weights if measured.classes_unequal else "none",
        start_penalty=probe.head.penalty * recipe.start_penalty_scale,
        folds=gate.folds if gate is not None and gate.head is not None else 0,
        precision=recipe.precision,
        device=run.processor,
        method=recipe.method,
        layer_decay=recipe.layer_decay if recipe.method == FULL else 0.0,
        seconds=measured.seconds,
        views=recipe.views,
        dropout=recipe.dropout,
        drop_path=recipe.drop_path,
    )


def _record(run: Run) -> DatasetRecord:
    return DatasetRecord(
        name=recorded_name(run.dataset.name, run.dataset.folder),
        train=len(run.splits.train),
        test=len(run.test),
        test_rule=run.splits.rule,
        split_sha256=run.splits.sha256,
        licence=run.dataset.licence,
        labels_sha256=run.splits.labels_sha256,
    )


def _metrics(measured: Measured) -> dict[str, float]:
    found: dict[str, float] = {}
    candidates = [("head", measured.head), (measured.method, measured.adapter), ("shipped", measured.shipped)]
    candidates += [(width_name(width.record.rank), width.test) for width in measured.widths[:-1]]
    for name, measure in candidates:
        if measure is not None:
            scores = measure.scores
            found |= {
                f"test_top1_{name}": scores.top1,
                f"test_balanced_{name}": scores.balanced,
                f"test_loss_{name}": scores.loss,
                f"test_calibration_error_{name}": scores.calibration_error,
            }
    return found


def _versions() -> dict[str, str]:
    names = ("torch", "timm", "torchvision", "numpy", "scikit-learn")
    return {"adaptertune-deploy": adaptertune_deploy.__version__} | {n: importlib.metadata.version(n) for n in names}
