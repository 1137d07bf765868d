"""Write the folder adapters/<task>/ of a finished run: tensors, config, model card, report and samples."""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path

import numpy as np

import adaptertune_deploy
from adaptertune_deploy.core import adapter as artefact
from adaptertune_deploy.core import files
from adaptertune_deploy.core.adapter import AdapterConfig, DatasetRecord
from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.model.adapted import AdaptedViT
from adaptertune_deploy.model.backbone import Backbone
from adaptertune_deploy.train.card import model_card
from adaptertune_deploy.train.report import Measured, write_report
from adaptertune_deploy.train.samples import Dataset, Split
from adaptertune_deploy.train.splits import Splits

SAMPLE_IMAGES = 32
LABEL_CHARACTERS = 60


def check_place(out: Path, task: str) -> None:
    """Refuse, before training, a place where something else lies: the new folder replaces what is there.

    Raises:
        UsageError: `out` is a file, or out/<task> is there and no adapter folder.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out}: is a file, expected a folder for adapter folders")
    folder = out / task
    if folder.exists() and not (folder / artefact.CONFIG_NAME).is_file():
        raise UsageError(f"{folder} exists and is no adapter folder; move it away, or choose another --task or --out")


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
    with files.staged_directory(out / model.task.name) as folder:
        sha256 = artefact.write_tensors(folder, model.export_tensors())
        config = AdapterConfig(
            format_version=artefact.FORMAT_VERSION,
            task=model.task,
            backbone=backbone.spec,
            preprocess=backbone.preprocess,
            dataset=_record(dataset, splits),
            tensors_sha256=sha256,
            metrics=_metrics(measured),
            versions=_versions(),
        )
        write_report(folder / "report", measured, model.task.labels)
        card = model_card(config, measured, dataset.non_commercial)
        files.write_bytes(folder / "README.md", card.encode())
        write_samples(folder / artefact.SAMPLES_NAME, part, model.task.labels)
        artefact.write_config(folder, config)
    return config


def write_samples(folder: Path, part: Split, labels: tuple[str, ...], count: int = SAMPLE_IMAGES) -> None:
    """Copy up to `count` images of a split, evenly spread, as their original files, for export to verify graphs on."""
    for index in np.unique(np.linspace(0, len(part) - 1, min(count, len(part))).round().astype(int)):
        data, suffix = part.encoded(int(index))
        label = re.sub(r"[^A-Za-z0-9]+", "_", labels[part.targets[index]])[:LABEL_CHARACTERS]
        files.write_bytes(folder / f"{index:05d}_{label}{suffix}", data)


def _record(dataset: Dataset, splits: Splits) -> DatasetRecord:
    return DatasetRecord(
        name=dataset.name,
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
