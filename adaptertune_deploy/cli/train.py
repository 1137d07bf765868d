"""atd train: a head, and adapters with a head, for one task."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adaptertune_deploy.cli.parts import options
from adaptertune_deploy.cli.parts.launched import first_process
from adaptertune_deploy.cli.parts.options import ADAPTER, CHOICE, DATA, OUTPUT, PLACES, TRAINING, flag, value
from adaptertune_deploy.cli.parts.recipes import recipe_of
from adaptertune_deploy.cli.terminal import completion, console, interrupts, scores, table, text
from adaptertune_deploy.core.adapter.training_record import in_epochs
from adaptertune_deploy.model.names import DEFAULT_BACKBONE

if TYPE_CHECKING:
    from adaptertune_deploy.train.parallel.launch import Launch
    from adaptertune_deploy.train.request.request import TrainRequest
    from adaptertune_deploy.train.trainer import TrainResult

DATASETS = "a name (pets, cifar10, ...), a folder, a .csv, .tsv or .parquet list, or hf:OWNER/NAME."
USUAL_BACKBONE = f"that of the adapters in --out, else {DEFAULT_BACKBONE}"
PLACEMENTS = "Blocks that get an adapter: all, last:K, every:K, or a list counted from 0, as 3,7,11."
RANK = (
    "Width of every adapter; 0 trains the head alone, auto finds the smallest that is enough, auto:fast sooner; nested "
    "or nested:N trains one that can be cut to smaller ranks at export."
)
METHOD = "What is trained beside the probe: adapter; head, nothing, the same as --rank 0; or full, the whole backbone."
SHIPS = "Which candidate ships: auto lets cross-validation choose; adapter, head or full overrules it."
CLASS_WEIGHTS = "Where classes differ in size: balanced counts every class the same, none every image."
FOLDS = "Folds of the comparison of head and adapter; 1 is one split, 0 chooses."
SEEDS = "Train with so many seeds, to tell how much the seed matters; the first one is kept."
EPOCHS = "Passes over the training images; 0 chooses by their number."
PRECISIONS = "Of the steps: auto, fp32, bf16 or fp16."
RATE = "Peak learning rate of the adapters."
WARMUP = "Share of the steps in which the rate rises."
LOG = "Log every step: csv, tensorboard, or both, comma-separated; lies in report/log."
LOG_DIR = "Folder of the logs, in place of the report's."
DROPOUT = "Share of an adapter's channels that a training step leaves out."
DROP_PATH = "Share of the images that pass by an adapter in a training step; by a block with --method full, there 0.1."
AUGMENT = (
    "auto, or fine, small, shapes (cropped, mirrored), signs, digits-in-scene (cropped), digits (moved), plain (as "
    "served)."
)
VIEWS = "Fixed augmentations of each image, fast with --placement last:K; 0 augments anew in every epoch."
RESUME = "Go on with the training of this task that was stopped: the same weights as without a stop."
CHECKPOINTS = "Time between two states kept on disk, for --resume; 0 keeps none."
BY_RECIPE = "chosen by the recipe"

Backbone = Annotated[
    str | None, value("--backbone", "NAME", ADAPTER, "timm name of a Vision Transformer.", USUAL_BACKBONE)
]
Placement = Annotated[str, value("--placement", "RULE", ADAPTER, PLACEMENTS, complete=completion.placements)]
ClassWeights = Annotated[
    str, value("--class-weights", "RULE", CHOICE, CLASS_WEIGHTS, complete=completion.class_weights)
]
Decay = Annotated[float | None, value("--weight-decay", "X", TRAINING, "On matrices, never on biases.", BY_RECIPE)]
Warmup = Annotated[float | None, value("--warmup", "SHARE", TRAINING, WARMUP, BY_RECIPE)]
Smoothing = Annotated[float | None, value("--label-smoothing", "SHARE", TRAINING, "Of the cross-entropy.", BY_RECIPE)]
Precision = Annotated[str, value("--precision", "NAME", TRAINING, PRECISIONS, complete=completion.training_precisions)]


def train(
    context: typer.Context,
    dataset: Annotated[str, value("--dataset", "NAME", DATA, DATASETS, complete=completion.datasets)],
    task: Annotated[str | None, value("--task", "NAME", DATA, "Name of the task.", "the dataset's")] = None,
    allow_missing: options.AllowMissing = False,
    skip_bad: options.SkipBad = False,
    backbone: Backbone = None,
    image_size: options.ImageSize = None,
    method: Annotated[str, value("--method", "NAME", ADAPTER, METHOD, complete=completion.methods)] = "adapter",
    rank: Annotated[str, value("--rank", "N", ADAPTER, RANK)] = "8",
    placement: Placement = "all",
    alpha: Annotated[float, value("--alpha", "X", ADAPTER, "Scale of every adapter.")] = 1.0,
    ship: Annotated[str, value("--ship", "NAME", CHOICE, SHIPS, complete=completion.candidates)] = "auto",
    folds: Annotated[int, value("--folds", "N", CHOICE, FOLDS)] = 0,
    class_weights: ClassWeights = "balanced",
    seeds: Annotated[int, value("--seeds", "N", CHOICE, SEEDS)] = 1,
    seed: Annotated[int, value("--seed", "N", TRAINING, "Of initialisation, order and augmentation.")] = 0,
    epochs: Annotated[int, value("--epochs", "N", TRAINING, EPOCHS)] = 0,
    batch_size: Annotated[int, value("--batch-size", "N", TRAINING, "Images in a step.")] = 32,
    lr: Annotated[float | None, value("--lr", "X", TRAINING, RATE, BY_RECIPE)] = None,
    weight_decay: Decay = None,
    warmup: Warmup = None,
    label_smoothing: Smoothing = None,
    dropout: Annotated[float, value("--dropout", "SHARE", TRAINING, DROPOUT)] = 0.0,
    drop_path: Annotated[float, value("--drop-path", "SHARE", TRAINING, DROP_PATH)] = 0.0,
    augment: Annotated[str, value("--augment", "NAME", TRAINING, AUGMENT, complete=completion.presets)] = "auto",
    views: Annotated[int, value("--views", "N", TRAINING, VIEWS)] = 0,
    precision: Precision = "auto",
    device: options.Device = "auto",
    workers: Annotated[int, value("--workers", "N", TRAINING, "Processes that read images; -1 chooses.")] = -1,
    config: options.Config = None,
    resume: Annotated[bool, flag("--resume", TRAINING, RESUME)] = False,
    checkpoint_every: Annotated[float, value("--checkpoint-every", "SECONDS", TRAINING, CHECKPOINTS)] = 60.0,
    log: Annotated[str, value("--log", "NAMES", OUTPUT, LOG, "none", completion.logs)] = "",
    log_dir: Annotated[Path | None, value("--log-dir", "FOLDER", PLACES, LOG_DIR, "report/log")] = None,
    out: Annotated[Path, value("--out", "FOLDER", PLACES, "Folder that gets the adapter folder.")] = Path("adapters"),
    data_dir: options.DataDir = None,
    weights: options.Weights = None,
    allow_random: options.AllowRandom = False,
    as_json: options.Json = False,
) -> None:
    """Train a head, and adapters with a head, for one task on a frozen backbone; the adapters ship where they help.

    Both are compared on images that neither was trained on. One graph serves adapters of one backbone, so another
    backbone goes with an --out of its own.

    \b
    atd train --dataset pets
    atd train --dataset path/to/folder --task parts --placement last:4
    atd train --dataset flowers --rank 16 --seeds 3 --out wide
    atd train --dataset flowers --backbone vit_small_patch16_224 --out small
    atd train --dataset flowers --backbone vit_small_patch14_dinov2 --image-size 224 --out dinov2
    atd train --dataset pets --rank auto
    atd train --dataset pets --rank nested
    atd train --dataset pets --method full --out full
    atd train --dataset pets --config adapters/flowers/report/recipe.yaml
    atd train --dataset pets --resume
    torchrun --nproc-per-node 2 -m adaptertune_deploy train --dataset flowers
    """
    from adaptertune_deploy.train.logs.log import kinds_of
    from adaptertune_deploy.train.request.request import TrainRequest

    request = TrainRequest(
        dataset=dataset,
        backbone=backbone,
        out=out,
        recipe=recipe_of(context, config),
        task=task,
        data_dir=data_dir,
        weights=weights,
        allow_missing=allow_missing,
        skip_bad=skip_bad,
        allow_random=allow_random,
        image_size=options.image_size(image_size),
        resume=resume,
        checkpoint_every=checkpoint_every,
        log=kinds_of(log),
        log_dir=log_dir,
    )
    _run_and_show(request, as_json)


def _run_and_show(request: TrainRequest, as_json: bool) -> None:
    from adaptertune_deploy.train.request.preflight import check_train

    launch = first_process(request.recipe.method == "full", "--method full")
    for note in check_train(request):
        console.print_note(note)
    result = run(request, launch)
    if as_json:
        console.print_json(train_facts(result))
        return
    show_result(result)
    show_next(request, result)


def run(request: TrainRequest, launch: Launch | None = None) -> TrainResult:
    """Train what was checked before; with the processes that torchrun started beside this one where it did."""
    from adaptertune_deploy.core.adapter.folder import CONFIG_NAME
    from adaptertune_deploy.data.datasets import task_of
    from adaptertune_deploy.train.resume.stopped import is_stopped

    task = request.task or task_of(request.dataset)
    told = interrupts.outcome(request.out / task / CONFIG_NAME, lambda: is_stopped(request.out, task))
    with interrupts.stoppable(told):
        with console.loading("torch"):
            from adaptertune_deploy.train.trainer import train_task

        with console.progress_bars() as progress:
            if launch is None:
                return train_task(request, progress, console.print_note)
            from adaptertune_deploy.train.parallel.lead import lead

            return lead(launch, lambda group: train_task(request, progress, console.print_note, group=group))


def train_facts(result: TrainResult) -> dict[str, Any]:
    """Return what training made as plain JSON values."""
    from adaptertune_deploy.train.outcome.results import report_facts

    config = result.config
    return {
        "task": config.task.name,
        "folder": str(result.folder),
        "backbone": config.backbone.name,
        "image_size": list(config.backbone.image_size),
        "dataset": config.dataset.name,
        "train_images": config.dataset.train,
        **report_facts(result.measured, config.task.labels, config.recipe),
    }


def show_result(result: TrainResult) -> None:
    """Print both candidates side by side, what compares them, what ships and why, and where everything lies."""
    from adaptertune_deploy.core.adapter import tuned_weights
    from adaptertune_deploy.core.adapter.folder import MODEL_NAME
    from adaptertune_deploy.train.outcome import score_rows, verdict
    from adaptertune_deploy.train.outcome.measured import HEAD

    measured, config = result.measured, result.config
    found = {HEAD: measured.head, measured.method: measured.adapter}
    images = text.plural(measured.head.scores.images, "image")
    scores.show(
        f"{config.task.name} on {config.backbone.name}: test split, {images}",
        {verdict.NAMES[name]: one for name, one in found.items() if one is not None},
        config.task.labels,
        measured.frozen,
    )
    compared = (
        verdict.on_the_same_images(measured),
        measured.gate and verdict.out_of_fold(measured.gate, measured.method),
    )
    if measured.widths:
        table.show(console.out, "nested widths", score_rows.WIDTH_COLUMNS, score_rows.width_rows(measured.widths))
    for line in (*compared, verdict.rank(measured), verdict.widths(measured)):
        if line:
            console.print_line(line)
    for line in verdict.seeds(measured):
        console.print_line(line)
    console.print_important(f"=> {verdict.ships(measured)}")
    if contradiction := verdict.contradiction(measured):
        console.print_note(contradiction)
    scores.tell_coarse(measured.head.scores.images, "test")
    for line in _how(result):
        console.print_line(line)
    size = text.human_bytes((result.folder / MODEL_NAME).stat().st_size + tuned_weights.bytes_in(result.folder))
    console.print_line(f"wrote {result.folder}/ ({size} of weights, model card, report/)")


def _how(result: TrainResult) -> tuple[str, ...]:
    """Return how the adapters were trained, and what was proved meanwhile."""
    recipe, proofs = result.config.recipe, result.measured.proofs
    took = text.human_seconds(result.measured.seconds)
    if recipe is None or result.measured.adapter is None:
        return (f"trained the head alone in {took}",)
    checked = "every weight of the backbone was trained, so that there is no unchanged backbone to be shown"
    if proofs is not None:
        start, adapters = text.plural(proofs.start_images, "image"), proofs.adapters_with_gradient
        checked = (
            f"checked: the start equals the backbone bit for bit on {start}, all {proofs.frozen_tensors} frozen "
            f"tensors are unchanged, each of the {adapters} adapters got a gradient in the first step"
        )
    return (
        f"trained {in_epochs(recipe.epochs)} in {text.plural(recipe.steps, 'step')} on all "
        f"{result.config.dataset.train:,} training images, last weights kept; {took} in all, {recipe.precision} on "
        f"{recipe.device}",
        checked,
    )


def show_next(request: TrainRequest, result: TrainResult) -> None:
    """Print the commands that export and evaluate the task, and the one that overrules what ships."""
    from adaptertune_deploy.cli.terminal import next as following

    commands = following.after_training(
        result.folder,
        request.data_dir,
        request.weights,
        missing=request.allow_missing,
        bad=request.skip_bad,
        random=request.allow_random,
    )
    console.print_next(*commands)
    if result.measured.adapter is not None:
        other = "head" if result.measured.ships != "head" else result.measured.method
        overrule = following.overruling(result.folder, other, request.weights, random=request.allow_random)
        console.print_next(overrule, why="overrule")
