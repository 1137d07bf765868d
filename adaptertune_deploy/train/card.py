"""The model card, adapters/<task>/README.md, made from the same facts as adapter_config.json."""

from __future__ import annotations

from adaptertune_deploy.core.adapter import AdapterConfig
from adaptertune_deploy.train.report import Measured

MOST_LABELS = 30


def model_card(config: AdapterConfig, measured: Measured, non_commercial: bool | None) -> str:
    """Return the card as Markdown.

    Args:
        config: the artefact's own facts.
        measured: what the run measured.
        non_commercial: whether the dataset's terms forbid commercial use; None when they are unknown.
    """
    task, adapter, data = config.task, config.task.adapter, config.dataset
    share = measured.trainable / measured.frozen
    labels = ", ".join(task.labels[:MOST_LABELS]) + (", ..." if len(task.labels) > MOST_LABELS else "")
    terms = {True: " (non-commercial use only)", False: " (commercial use allowed)", None: ""}
    rows = "\n".join(
        f"| {name} | {scores.top1:.1%} | {scores.top5:.1%} | {scores.loss:.3f} | {scores.calibration_error:.3f} |"
        for name, scores in (("head alone (linear probe)", measured.head_only), ("adapter and head", measured.adapter))
    )
    return f"""---
library_name: adaptertune-deploy
base_model: timm/{config.backbone.name}
pipeline_tag: image-classification
---

# {task.name}

AdapterTune adapters (arXiv 2603.14706) and a head for `{config.backbone.name}`: {len(task.labels)} classes, rank
{adapter.rank}, after blocks {", ".join(map(str, adapter.blocks))}; {measured.trainable:,} trained parameters,
{share:.2%} of the backbone's {measured.frozen:,}.

| {measured.split} split, {measured.adapter.images} images | top-1 | top-5 | loss | calibration error |
|---|---|---|---|---|
{rows}

Labels: {labels}.

## Data

`{data.name}`: {data.train:,} training, {data.val:,} validation ({data.val_split}), {data.test:,} test images; split
sha256 `{data.split_sha256[:16]}`. Licence: {data.licence}{terms[non_commercial]}. The folder `samples/` holds some
of its images, so that an exported graph can be verified; remove it where these images may not go.

## Proofs of this run

- Before the first step the adapted features equalled the backbone's bit for bit, on {measured.proofs.start_images}
  images.
- All {measured.proofs.frozen_tensors} frozen tensors are unchanged (sha256 `{measured.proofs.frozen_sha256[:16]}`).
- All {measured.proofs.adapters_with_gradient} adapters received a gradient in the first step.

## Use

    atd export --adapters {task.name}
    atd predict IMAGE --adapters {task.name}

Trained with {", ".join(f"{name} {version}" for name, version in config.versions.items())}.
"""
