"""atd sweep: ranks side by side, as a table and a picture."""

from __future__ import annotations

import inspect
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Annotated

import typer

from adaptertune_deploy.cli.parts import options
from adaptertune_deploy.cli.parts.launched import first_process
from adaptertune_deploy.cli.parts.options import ADAPTER, CHOICE, DATA, PLACES, TRAINING, flag, value
from adaptertune_deploy.cli.parts.recipes import recipe_of
from adaptertune_deploy.cli.parts.typed import carried
from adaptertune_deploy.cli.terminal import completion, console, interrupts, table, text
from adaptertune_deploy.cli.terminal.next import ADAPTERS, command
from adaptertune_deploy.cli.train import (
    BY_RECIPE,
    CHECKPOINTS,
    DATASETS,
    EPOCHS,
    FOLDS,
    PLACEMENTS,
    PRECISIONS,
    RATE,
    RESUME,
    train,
)
from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.model.names import DEFAULT_BACKBONE

if TYPE_CHECKING:
    from adaptertune_deploy.train.parallel.group import Group
    from adaptertune_deploy.train.request.request import TrainRequest
    from adaptertune_deploy.train.sweep.swept import Sweep, SweptRank

BACKBONE = "timm name of a Vision Transformer."
RANKS = "Ranks to train, comma-separated; the head alone is always among them."
FULL = "Also fine-tune the whole backbone, on the same folds and with the same seeds."
NESTED = "Also train nested adapters of the largest rank, and show what each of their widths loses."
# Options of `atd train` too, that say something else there or nothing of how it trains.
NOT_HANDED_ON = {"context", "out", "seeds", "resume", "checkpoint_every", "as_json"}
SEEDS = "Train every rank on all images with so many seeds; the folds are trained with the first."


def sweep(
    context: typer.Context,
    dataset: Annotated[str, value("--dataset", "NAME", DATA, DATASETS, complete=completion.datasets)],
    task: Annotated[str | None, value("--task", "NAME", DATA, "Name of the task.", "the dataset's")] = None,
    allow_missing: options.AllowMissing = False,
    skip_bad: options.SkipBad = False,
    ranks: Annotated[str, value("--ranks", "N,N,...", ADAPTER, RANKS)] = "1,2,4,8,16,32",
    nested: Annotated[bool, flag("--nested", ADAPTER, NESTED)] = False,
    full: Annotated[bool, flag("--full", ADAPTER, FULL)] = False,
    backbone: Annotated[str | None, value("--backbone", "NAME", ADAPTER, BACKBONE, DEFAULT_BACKBONE)] = None,
    image_size: options.ImageSize = None,
    placement: Annotated[
        str, value("--placement", "RULE", ADAPTER, PLACEMENTS, complete=completion.placements)
    ] = "all",
    seeds: Annotated[int, value("--seeds", "N", CHOICE, SEEDS)] = 3,
    folds: Annotated[int, value("--folds", "N", CHOICE, FOLDS)] = 0,
    seed: Annotated[int, value("--seed", "N", TRAINING, "The first one.")] = 0,
    epochs: Annotated[int, value("--epochs", "N", TRAINING, EPOCHS)] = 0,
    batch_size: Annotated[int, value("--batch-size", "N", TRAINING, "Images in a step.")] = 32,
    lr: Annotated[float | None, value("--lr", "X", TRAINING, RATE, BY_RECIPE)] = None,
    precision: Annotated[
        str, value("--precision", "NAME", TRAINING, PRECISIONS, complete=completion.training_precisions)
    ] = "auto",
    device: options.Device = "auto",
    config: options.Config = None,
    resume: Annotated[bool, flag("--resume", TRAINING, RESUME)] = False,
    checkpoint_every: Annotated[float, value("--checkpoint-every", "SECONDS", TRAINING, CHECKPOINTS)] = 60.0,
    out: Annotated[Path, value("--out", "FOLDER", PLACES, "Folder that gets TASK.json and TASK.png.")] = Path("sweeps"),
    data_dir: options.DataDir = None,
    weights: options.Weights = None,
    allow_random: options.AllowRandom = False,
    as_json: options.Json = False,
) -> None:
    """Train adapters of several ranks and show what each costs and gains: a table, sweeps/TASK.json and TASK.png.

    Which rank is enough is decided on images that were held out of training; the test images show what that is worth.
    `atd train --rank auto` finds a rank in a fraction of the time.

    \b
    atd sweep --dataset pets
    atd sweep --dataset flowers --ranks 2,8,32 --seeds 1
    atd sweep --dataset flowers --ranks 1,2,4,8,16 --nested
    atd sweep --dataset pets --ranks 4,8,16 --full
    atd sweep --dataset pets --resume
    torchrun --nproc-per-node 2 -m adaptertune_deploy sweep --dataset pets
    """
    from adaptertune_deploy.train.request.request import TrainRequest

    request = TrainRequest(
        dataset=dataset,
        backbone=backbone,
        out=out,
        recipe=recipe_of(context, config, seeds=seeds),
        task=task,
        data_dir=data_dir,
        weights=weights,
        allow_missing=allow_missing,
        skip_bad=skip_bad,
        allow_random=allow_random,
        image_size=options.image_size(image_size),
        resume=resume,
        checkpoint_every=checkpoint_every,
    )
    found = run(request, numbers(ranks), nested, full)
    if as_json:
        from adaptertune_deploy.train.sweep.swept import facts

        console.print_json(facts(found))
    else:
        show(found, request, training(context, found, request))


def numbers(listed: str) -> tuple[int, ...]:
    """Return the ranks of a comma-separated list.

    Raises:
        UsageError: something in it is no whole number, or no rank that can be had.
    """
    from adaptertune_deploy.train.sweep.ranks import check_ranks

    try:
        return check_ranks([int(word) for word in listed.split(",") if word.strip()])
    except ValueError:
        raise UsageError(f"--ranks {listed:.60}: expected whole numbers with commas between, as 1,2,4,8") from None


def run(request: TrainRequest, ranks: tuple[int, ...], nested: bool = False, full: bool = False) -> Sweep:
    """Check and sweep; with the processes that torchrun started beside this one where it did."""
    from adaptertune_deploy.data.datasets import task_of
    from adaptertune_deploy.train.resume.stopped import is_stopped
    from adaptertune_deploy.train.sweep.preflight import check_sweep

    launch = first_process(full, "--full")
    for note in check_sweep(request, ranks, nested, full):
        console.print_note(note)
    task = request.task or task_of(request.dataset)
    told = interrupts.outcome(request.out / f"{task}.json", lambda: is_stopped(request.out, task))
    with interrupts.stoppable(told):
        with console.loading("torch"):
            from adaptertune_deploy.train.sweep.sweep import sweep_ranks

        with console.progress_bars() as progress:

            def work(group: Group | None) -> Sweep:
                tell = console.print_note
                return sweep_ranks(request, ranks, progress, tell, nested=nested, full=full, group=group)

            if launch is None:
                return work(None)
            from adaptertune_deploy.train.parallel.lead import lead

            return lead(launch, work)


def training(context: typer.Context, found: Sweep, request: TrainRequest) -> str | None:
    """Return the command that trains the rank that is enough as the sweep has trained it; None where none is.

    The number of seeds is not handed on: the sweep has told what a seed matters, and any training keeps the first.
    """
    from adaptertune_deploy.train.request.unused import NOT_OF_HEADS
    from adaptertune_deploy.train.request.usual_backbone import choose_backbone

    if found.enough is None:
        return None
    names = set(inspect.signature(train).parameters) - NOT_HANDED_ON
    given = carried(context, names if found.enough else names - NOT_OF_HEADS)
    usual = choose_backbone(None, request.image_size, ADAPTERS, found.task).name
    if request.backbone is None and usual != found.backbone:  # what lies in the adapters' folder decides there
        given["--backbone"] = found.backbone
    if not found.enough and request.recipe.ship == "adapter":  # of a --config file
        given["--ship"] = "auto"
    return command("atd", "train", options={**given, "--rank": found.enough})


def show(found: Sweep, request: TrainRequest, following: str | None) -> None:
    """Print a row a rank, which rank is enough, and the command that trains it."""
    from adaptertune_deploy.train.sweep.swept import words

    seeds = text.plural(len(found.seeds), "seed")
    title = f"{found.task}: {found.train_images:,} training images, {found.test_images:,} test images, {seeds}"
    columns = ["rank", "numbers", "size", "loss out of fold", "to the best rank", "test top-1", "range over seeds"]
    table.show(console.out, title, columns, [_cells(one) for one in found.ranks])
    console.print_important(f"=> {words(found)}")
    console.print_line(
        f"wrote {request.out / found.task}.json and {found.task}.png in {text.human_seconds(found.seconds)}"
    )
    if following is not None:
        console.print_next(following)


def _cells(one: SweptRank) -> list[str]:
    from adaptertune_deploy.train.sweep import swept

    low, high = (f"{100 * bound:.1f}" for bound in (min(one.test_top1), max(one.test_top1)))
    names = {
        swept.ADAPTER: str(one.rank) if one.rank else "0, head alone",
        swept.NESTED: f"{one.rank}, nested",
        swept.FULL: "full fine-tuning",
    }
    return [
        names[one.method],
        f"{one.parameters:,}",
        text.human_bytes(one.bytes),
        "" if one.loss is None else f"{one.loss:.4f}",
        _to_the_best(one),
        f"{100 * fmean(one.test_top1):.1f} %",
        "" if low == high else f"{low} .. {high}",
    ]


def _to_the_best(one: SweptRank) -> str:
    """Return how far a row lies from the best rank; another method than that of the ranks may lie below it."""
    from adaptertune_deploy.train.sweep.swept import ADAPTER as RANK

    if one.above is None:
        return ""
    return "best" if one.method == RANK and one.above <= 0 else f"{one.above:+.4f} ± {one.error:.4f}"
