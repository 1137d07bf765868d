"""Write the folder adapters/<task>/ of a finished run: samples, report, model card, config."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import adaptertune_deploy
from adaptertune_deploy.core import adapter as artefact
from adaptertune_deploy.core import files
from adaptertune_deploy.core.adapter import AdapterConfig, DatasetRecord, Identity
from adaptertune_deploy.core.samples import keep
from adaptertune_deploy.data.samples import Dataset, Split
from adaptertune_deploy.data.splits import Splits
from adaptertune_deploy.data.whereabouts import recorded_name
from adaptertune_deploy.model.adapted import AdaptedViT
from adaptertune_deploy.model.backbone import Backbone
from adaptertune_deploy.train.card import model_card
from adaptertune_deploy.train.report import Measured, write_report

SAMPLE_IMAGES = 32


def write_artefact(
    out: Path, model: AdaptedViT, backbone: Backbone, data: tuple[Dataset, Splits], part: Split, measured: Measured
) -> AdapterConfig:
    """Write the whole folder beside its place, then move it there; returns its config.

    Args:
        out: folder that holds the adapter folders.
        model: the trained network.
        backbone: what it was trained on.
        data: the dataset and how it was divided.
        part: the split that `measured` is of; some of its images become samples.
        measured: for the report and the model card.
    """
    dataset, splits = data
    identity = Identity(model.task, backbone.spec, backbone.preprocess)
    with files.staged_directory(out / model.task.name) as folder:
        sha256 = artefact.write_tensors(folder, model.export_tensors(), identity)
        config = AdapterConfig(
            format_version=artefact.FORMAT_VERSION,
            task=model.task,
            backbone=backbone.spec,
            preprocess=backbone.preprocess,
            dataset=_record(dataset, splits),
            tensors_sha256=sha256,
            metrics=_metrics(measured),
            versions=_versions(),
            samples=keep(folder, chosen(part, model.task.labels), travel=dataset.redistributable),
        )
        write_report(folder / "report", measured, model.task.labels)
        card = model_card(config, measured, dataset, backbone.hub_id, out.resolve().name)
        files.write_bytes(folder / "README.md", card.encode())
        artefact.write_config(folder, config)
    return config


def chosen(part: Split, labels: tuple[str, ...], count: int = SAMPLE_IMAGES) -> Iterator[tuple[bytes, str, str]]:
    """Yield up to `count` images of a split, evenly spread: the original file's bytes, its suffix and its label."""
    for index in np.unique(np.linspace(0, len(part) - 1, min(count, len(part))).round().astype(int)):
        yield (*part.encoded(int(index)), labels[part.targets[index]])


def _record(dataset: Dataset, splits: Splits) -> DatasetRecord:
    return DatasetRecord(
        name=recorded_name(dataset.name, dataset.folder),
        val_split=splits.rule,
        train=len(splits.train),
        val=len(splits.val or ()),
        test=len(splits.test or ()),
        split_sha256=splits.sha256,
        licence=dataset.licence,
    )


def _metrics(measured: Measured) -> dict[str, float]:
    name = measured.split
    return {
        f"{name}_top1": measured.adapter.top1,
        f"{name}_top1_head_only": measured.head_only.top1,
        f"{name}_loss": measured.adapter.loss,
        f"{name}_loss_head_only": measured.head_only.loss,
    }


def _versions() -> dict[str, str]:
    names = ("torch", "timm", "torchvision", "numpy")
    return {"adaptertune-deploy": adaptertune_deploy.__version__} | {n: importlib.metadata.version(n) for n in names}
