"""atd train: adapters and a head for one task."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adaptertune_deploy.cli import console, options

if TYPE_CHECKING:
    from adaptertune_deploy.train.trainer import TrainResult

DEFAULT_BACKBONE = "deit_tiny_patch16_224.fb_in1k"


def train(
    dataset: Annotated[
        str, typer.Option("--dataset", help="pets, flowers, digits, shapes, or the path of an image folder.")
    ],
    task: Annotated[str | None, typer.Option("--task", help="Name of the task. [default: the dataset's]")] = None,
    rank: Annotated[int, typer.Option("--rank", help="Width of every adapter.")] = 8,
    backbone: Annotated[
        str | None,
        typer.Option(
            "--backbone",
            help=f"timm name of a Vision Transformer. [default: that of the adapters already there, "
            f"else {DEFAULT_BACKBONE}]",
        ),
    ] = None,
    weights: options.Weights = None,
    data_dir: options.DataDir = None,
    out: Annotated[Path, typer.Option("--out", help="Folder that gets the adapter folder.")] = Path("adapters"),
    placement: Annotated[
        str, typer.Option("--placement", help="Blocks that get an adapter: all, last:K or every:K.")
    ] = "all",
    alpha: Annotated[float, typer.Option("--alpha", help="Scale of every adapter.")] = 1.0,
    epochs: Annotated[int, typer.Option("--epochs", help="Passes over the data; 0 fits the device.")] = 0,
    batch_size: Annotated[int, typer.Option("--batch-size", help="Images in a step.")] = 32,
    lr: Annotated[float, typer.Option("--lr", help="Peak learning rate of the adapters.")] = 3e-3,
    seed: Annotated[int, typer.Option("--seed", help="Of initialisation, order and augmentation.")] = 0,
    val_split: Annotated[str, typer.Option("--val-split", help="auto, official, stratified:SHARE or none.")] = "auto",
    precision: Annotated[str, typer.Option("--precision", help="Of the steps: auto, fp32, bf16 or fp16.")] = "auto",
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")] = "auto",
    allow_missing: options.AllowMissing = False,
    allow_random: Annotated[bool, typer.Option("--allow-random-backbone", hidden=True)] = False,
    as_json: options.Json = False,
) -> None:
    """Train adapters and a head for one task on a frozen backbone.

    \b
    atd train --dataset pets --rank 8
    atd train --dataset path/to/folder --task parts --placement last:4
    atd train --dataset flowers --backbone vit_small_patch16_224.augreg_in21k_ft_in1k --out adapters-vits
    """
    with console.loading("torch"):
        from adaptertune_deploy.train.recipe import Recipe
        from adaptertune_deploy.train.trainer import TrainRequest, train_task

    recipe = Recipe(
        rank=rank,
        alpha=alpha,
        placement=placement,
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        seed=seed,
        precision=precision,
        device=device,
    )
    request = TrainRequest(
        dataset=dataset,
        backbone=backbone or _usual_backbone(out),
        out=out,
        recipe=recipe,
        task=task,
        data_dir=data_dir,
        weights=weights,
        val_split=val_split,
        allow_missing=allow_missing,
        allow_random=allow_random,
    )
    with console.progress_bars() as progress:
        result = train_task(request, progress, console.print_note)
    if as_json:
        console.print_json(train_facts(result))
    else:
        show_result(result)


def _usual_backbone(out: Path) -> str:
    """Return the backbone of the adapters already in `out`, so that one graph can serve all of them."""
    from adaptertune_deploy.core import adapter as artefact

    for folder in artefact.list_adapters(out):
        name = artefact.read_config(folder).backbone.name
        if name != DEFAULT_BACKBONE:
            console.print_note(
                f"training on {name}, the backbone of {folder}; for another one: --backbone NAME --out FOLDER"
            )
        return name
    return DEFAULT_BACKBONE


def train_facts(result: TrainResult) -> dict[str, Any]:
    """Return what training made as plain JSON values."""
    from adaptertune_deploy.train.report import report_facts

    return {
        "task": result.config.task.name,
        "folder": str(result.folder),
        "backbone": result.config.backbone.name,
        "dataset": result.config.dataset.name,
        **report_facts(result.measured),
    }


def show_result(result: TrainResult) -> None:
    """Print the scores of the head alone and of the adapter, and where everything lies."""
    from adaptertune_deploy.core.adapter import MODEL_NAME

    measured, config = result.measured, result.config
    title = f"{config.task.name} on {config.backbone.name}: {measured.split} split, {measured.adapter.images} images"
    table = console.make_table(title, "", "top-1", "top-5", "loss", "parameters", "of the backbone's")
    head = len(config.task.labels) * (config.backbone.features + 1)
    for name, scores, count in (
        ("head alone", measured.head_only, head),
        ("adapter + head", measured.adapter, measured.trainable),
    ):
        share = f"{count / measured.frozen:.2%}"
        table.add_row(name, f"{scores.top1:.1%}", f"{scores.top5:.1%}", f"{scores.loss:.3f}", f"{count:,}", share)
    console.out.print(table)
    if measured.adapter.top1 < measured.head_only.top1:
        console.print_note("the adapter answers worse than the head alone; try a lower --lr or more --epochs")
    size = console.human_bytes((result.folder / MODEL_NAME).stat().st_size)
    console.out.print(
        f"epoch {measured.fit.best_epoch + 1} of {len(measured.fit.history)} kept, "
        f"{console.human_seconds(measured.seconds)}, {measured.precision} on {measured.device}; "
        f"proved: exact start, backbone unchanged, every adapter learned",
        soft_wrap=True,
    )
    console.out.print(f"wrote {result.folder}/ ({size} of weights, model card, report/)", soft_wrap=True)
    console.print_next("atd export", f"atd evaluate --adapter {config.task.name}")
