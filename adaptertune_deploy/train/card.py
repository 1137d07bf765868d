"""The model card, adapters/<task>/README.md, made from the same facts as adapter_config.json."""

from __future__ import annotations

import math
import shlex
import textwrap

from adaptertune_deploy.core.adapter import AdapterConfig
from adaptertune_deploy.core.samples import SAMPLES_NAME
from adaptertune_deploy.data.samples import Dataset
from adaptertune_deploy.train.evaluate import Scores
from adaptertune_deploy.train.report import Measured

MOST_LABELS = 30
TAGS = ("adaptertune", "adapter", "vision-transformer", "image-classification")
TOP = 5
WIDTH = 110


def model_card(config: AdapterConfig, measured: Measured, dataset: Dataset, base_model: str | None, root: str) -> str:
    """Return the card as Markdown.

    Args:
        config: the artefact's own facts.
        measured: what the run measured.
        dataset: what it was trained on.
        base_model: the backbone on the Hugging Face Hub; None where it is not there, or its weights came from a file.
        root: name of the folder that holds the adapter folders.
    """
    sections = (
        _intro(config, measured),
        f"## Data\n\n{_data(config, dataset)}",
        f"## Recipe, as it ran\n\n{_recipe(measured)}",
        f"## Checked in this run\n\n{_proofs(measured)}",
        f"## Use\n\n{_use(config, dataset, root)}",
    )
    return "\n".join((_metadata(dataset, base_model), *sections))


def _metadata(dataset: Dataset, base_model: str | None) -> str:
    """Return what the Hugging Face Hub reads; the weights' licence is for whoever trained them to choose."""
    lines = ["library_name: adaptertune-deploy", "pipeline_tag: image-classification"]
    if base_model is not None:
        lines += [f"base_model: {base_model}", "base_model_relation: adapter"]
    if dataset.hub_id is not None:
        lines += ["datasets:", f"- {dataset.hub_id}"]
    return "\n".join(("---", *lines, "tags:", *(f"- {tag}" for tag in TAGS), "---", ""))


def _intro(config: AdapterConfig, measured: Measured) -> str:
    task, adapter, backbone = config.task, config.task.adapter, config.backbone
    what = _filled(
        f"AdapterTune adapters (arXiv 2603.14706) and a head for `{backbone.name}` (frozen weights sha256 "
        f"`{backbone.sha256[:16]}`): {len(task.labels)} classes, rank {adapter.rank}, after blocks "
        f"{', '.join(map(str, adapter.blocks))}; {measured.trainable:,} trained parameters, "
        f"{measured.trainable / measured.frozen:.2%} of the backbone's {measured.frozen:,}."
    )
    which = f"The first {MOST_LABELS} of {len(task.labels)} labels" if len(task.labels) > MOST_LABELS else "Labels"
    labels = _filled(f"{which}: {', '.join(task.labels[:MOST_LABELS])}.")
    return f"# {task.name}\n\n{what}\n\n{_scores(measured, len(task.labels))}\n\n{labels}\n"


def _filled(text: str) -> str:
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)


def _scores(measured: Measured, classes: int) -> str:
    names = ["right", "top-1", *([f"top-{TOP}"] if classes > TOP else []), "loss", "calibration error"]
    lines = [f"| {measured.split} split, {measured.adapter.images:,} images | {' | '.join(names)} |"]
    lines.append(f"|---{'|---' * len(names)}|")
    for name, scores in (("head alone (linear probe)", measured.head_only), ("adapter and head", measured.adapter)):
        lines.append(f"| {name} | {' | '.join(_cells(scores, classes))} |")
    return "\n".join(lines)


def _cells(scores: Scores, classes: int) -> list[str]:
    top = [f"{scores.top5:.1%}"] if classes > TOP else []
    right = f"{round(scores.top1 * scores.images):,}"
    return [right, f"{scores.top1:.1%}", *top, f"{scores.loss:.3f}", f"{scores.calibration_error:.3f}"]


def _data(config: AdapterConfig, dataset: Dataset) -> str:
    data = config.dataset
    limit = "; non-commercial use only" if dataset.non_commercial else ""
    facts = (
        f"`{data.name}`: {data.train:,} training, {data.val:,} validation ({data.val_split}), {data.test:,} test "
        f"images; split sha256 `{data.split_sha256[:16]}`. Terms of the images: {data.licence}{limit}."
    )
    heldback = f"{len(config.samples)} of the {'test' if data.test else 'validation'} images"
    if dataset.redistributable:
        samples = f"The folder `{SAMPLES_NAME}/` holds {heldback}, on which `atd export` verifies graphs."
    else:
        samples = (
            f"`atd export` verifies graphs on {heldback}. They are not in this folder: they stay on the machine that "
            "trained, and their SHA-256 are in `adapter_config.json`. Elsewhere, give it other images of this kind: "
            "`atd export --images FOLDER`."
        )
    return f"{_filled(facts)}\n\n{_filled(samples)}\n"


def _recipe(measured: Measured) -> str:
    recipe, fit = measured.recipe, measured.fit
    how = "there are no validation images" if math.isnan(fit.history[0].val_top1) else "by validation accuracy"
    kept = f"epoch {fit.best_epoch + 1} kept ({how})"
    rows = {
        "epochs": f"{len(fit.history)}, {kept}",
        "batch size": f"{recipe.batch_size}",
        "peak learning rate": f"{recipe.lr:g}, head {recipe.lr * recipe.head_lr_scale:g}; linear warm-up over "
        f"{recipe.warmup:.0%} of the steps, then a cosine",
        "optimiser": f"AdamW, weight decay {recipe.weight_decay:g} on matrices, gradient norm at most {recipe.clip:g}",
        "label smoothing": f"{recipe.label_smoothing:g}",
        "adapters": f"rank {recipe.rank}, alpha {recipe.alpha:g}, placement {recipe.placement}",
        "augmentation": f"preset `{measured.augment}`",
        "seed": f"{recipe.seed}",
        "precision of the steps": measured.precision,
        "device": f"{measured.device}, {measured.seconds:.0f} seconds in all",
    }
    return "\n".join(("| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items()), ""))


def _proofs(measured: Measured) -> str:
    proofs = measured.proofs
    images = f"{proofs.start_images} images"
    return f"""- Before the first step the adapted features equalled the backbone's bit for bit ({images}).
- All {proofs.frozen_tensors} frozen tensors were unchanged at the end (sha256 `{proofs.frozen_sha256[:16]}`).
- Each of the {proofs.adapters_with_gradient} adapters received a gradient in the first step: all of them took part,
  which does not say that each one improves the answers.
"""


def _use(config: AdapterConfig, dataset: Dataset, root: str) -> str:
    name = config.task.name
    where = "" if root == "adapters" else f" --adapters-dir {shlex.quote(root)}"
    images = "" if dataset.redistributable else " (add `--images FOLDER` on another machine than the one that trained)"
    versions = ", ".join(f"{library} {version}" for library, version in config.versions.items())
    return f"""In the folder that holds `{root}/`, to add the task to the bundle in `bundle/`:

    atd add {shlex.quote(f"{root}/{name}")}

Or for a bundle of its own{images}:

    atd export --adapters {name}{where} --out bundle-{name}
    atd predict IMAGE --adapters {name} --bundle bundle-{name}

Trained with {versions}.
"""
