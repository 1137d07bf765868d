"""atd train: adapters and a head for one task."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from adaptertune_deploy.cli import completion, console, interrupts, options, scores, table, text
from adaptertune_deploy.cli.options import ADAPTER, DATA, PLACES, TRAINING, value
from adaptertune_deploy.model.names import DEFAULT_BACKBONE

if TYPE_CHECKING:
    from adaptertune_deploy.train.request import TrainRequest
    from adaptertune_deploy.train.trainer import TrainResult

DATASETS = "pets, flowers, digits, shapes, or the path of an image folder."
USUAL_BACKBONE = f"that of the adapters in --out, else {DEFAULT_BACKBONE}"
RULES = "auto, official, stratified:SHARE or none."
PLACEMENTS = "Blocks that get an adapter: all, last:K or every:K."
EPOCHS = "Passes over the data; 0 is as many as the device manages in some minutes."
PRECISIONS = "Of the steps: auto, fp32, bf16 or fp16."


def train(
    dataset: Annotated[str, value("--dataset", "NAME", DATA, DATASETS, complete=completion.datasets)],
    task: Annotated[str | None, value("--task", "NAME", DATA, "Name of the task.", "the dataset's")] = None,
    val_split: Annotated[str, value("--val-split", "RULE", DATA, RULES, complete=completion.val_splits)] = "auto",
    allow_missing: options.AllowMissing = False,
    backbone: Annotated[
        str | None, value("--backbone", "NAME", ADAPTER, "timm name of a Vision Transformer.", USUAL_BACKBONE)
    ] = None,
    rank: options.Rank = 8,
    placement: Annotated[
        str, value("--placement", "RULE", ADAPTER, PLACEMENTS, complete=completion.placements)
    ] = "all",
    alpha: Annotated[float, value("--alpha", "X", ADAPTER, "Scale of every adapter.")] = 1.0,
    epochs: Annotated[int, value("--epochs", "N", TRAINING, EPOCHS)] = 0,
    batch_size: Annotated[int, value("--batch-size", "N", TRAINING, "Images in a step.")] = 32,
    lr: Annotated[float, value("--lr", "X", TRAINING, "Peak learning rate of the adapters.")] = 3e-3,
    seed: Annotated[int, value("--seed", "N", TRAINING, "Of initialisation, order and augmentation.")] = 0,
    precision: Annotated[
        str, value("--precision", "NAME", TRAINING, PRECISIONS, complete=completion.precisions)
    ] = "auto",
    device: options.Device = "auto",
    out: Annotated[Path, value("--out", "FOLDER", PLACES, "Folder that gets the adapter folder.")] = Path("adapters"),
    data_dir: options.DataDir = None,
    weights: options.Weights = None,
    allow_random: options.AllowRandom = False,
    as_json: options.Json = False,
) -> None:
    """Train adapters and a head for one task on a frozen backbone.

    One graph serves adapters of one backbone, so another backbone goes with an --out of its own.

    \b
    atd train --dataset pets --rank 8
    atd train --dataset path/to/folder --task parts --placement last:4
    atd train --dataset flowers --rank 16 --epochs 20 --out wide
    atd train --dataset flowers --backbone vit_small_patch16_224 --out small
    """
    from adaptertune_deploy.train.preflight import check_train
    from adaptertune_deploy.train.recipe import Recipe
    from adaptertune_deploy.train.request import TrainRequest

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
        backbone=backbone,
        out=out,
        recipe=recipe,
        task=task,
        data_dir=data_dir,
        weights=weights,
        val_split=val_split,
        allow_missing=allow_missing,
        allow_random=allow_random,
    )
    for note in check_train(request):
        console.print_note(note)
    result = run(request)
    if as_json:
        console.print_json(train_facts(result))
    else:
        show_result(result)
        show_next(request, result)


def run(request: TrainRequest) -> TrainResult:
    """Train what was checked before."""
    from adaptertune_deploy.core.adapter import CONFIG_NAME

    folder = request.out / (request.task or Path(request.dataset).expanduser().resolve().name)
    with interrupts.stoppable(interrupts.outcome(folder / CONFIG_NAME)):
        with console.loading("torch"):
            from adaptertune_deploy.train.trainer import train_task

        with console.progress_bars() as progress:
            return train_task(request, progress, console.print_note)


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
    classes, images = len(config.task.labels), text.plural(measured.adapter.images, "image")
    head = classes * (config.backbone.features + 1)
    rows = [
        (name, *scores.cells(found, classes), f"{count:,}", f"{count / measured.frozen:.2%}")
        for name, found, count in (
            ("head alone", measured.head_only, head),
            ("adapter + head", measured.adapter, measured.trainable),
        )
    ]
    table.show(
        console.out,
        f"{config.task.name} on {config.backbone.name}: {measured.split} split, {images}",
        (table.Words("trained"), *scores.columns(classes), "parameters", "of the backbone's"),
        rows,
    )
    scores.tell_coarse(measured.adapter.images, measured.split)
    if measured.adapter.top1 < measured.head_only.top1:
        console.print_note("the adapter answers worse than the head alone; try a lower --lr or more --epochs")
    size = text.human_bytes((result.folder / MODEL_NAME).stat().st_size)
    console.print_line(
        f"epoch {measured.fit.best_epoch + 1} of {len(measured.fit.history)} kept, "
        f"{text.human_seconds(measured.seconds)}, {measured.precision} on {measured.device}"
    )
    console.print_line(
        "checked: the start equals the backbone exactly, the backbone is unchanged, every adapter got a gradient"
    )
    console.print_line(f"wrote {result.folder}/ ({size} of weights, model card, report/)")


def show_next(request: TrainRequest, result: TrainResult) -> None:
    """Print the commands that export and evaluate the task."""
    from adaptertune_deploy.cli import next as following

    commands = following.after_training(
        result.folder,
        request.data_dir,
        request.weights,
        missing=request.allow_missing,
        random=request.allow_random,
    )
    console.print_next(*commands)
