"""atd evaluate: accuracy of a trained task on a split of its dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from adaptertune_deploy.cli import completion, console, options, scores, table
from adaptertune_deploy.cli.options import DATA, value
from adaptertune_deploy.core.errors import UsageError

if TYPE_CHECKING:
    from adaptertune_deploy.train.reevaluate import Evaluation

SPLITS = ("train", "val", "test")


def evaluate(
    adapter: Annotated[str, value("--adapter", "TASK", DATA, "Task to evaluate.", complete=completion.trained_task)],
    split: Annotated[
        str, value("--split", "NAME", DATA, "train, val or test.", "test, else val", completion.splits)
    ] = "",
    dataset: Annotated[
        str | None,
        value("--dataset", "NAME", DATA, "Dataset or image folder.", "what it was trained on", completion.datasets),
    ] = None,
    allow_missing: options.AllowMissing = False,
    adapters_dir: options.AdaptersDir = Path("adapters"),
    data_dir: options.DataDir = None,
    weights: options.Weights = None,
    device: options.Device = "auto",
    allow_random: options.AllowRandom = False,
    as_json: options.Json = False,
) -> None:
    """Measure a trained task on the same split that training held back.

    \b
    atd evaluate --adapter pets
    atd evaluate --adapter pets --split val --json
    """
    from adaptertune_deploy.cli import tasks
    from adaptertune_deploy.core.adapter import read_adapter
    from adaptertune_deploy.train.device_names import check_device_name

    if split and split not in SPLITS:
        raise UsageError(f"--split {split}: expected {', '.join(SPLITS[:-1])} or {SPLITS[-1]}")
    check_device_name(device)
    folder = tasks.adapter(adapters_dir, adapter)
    config, _ = read_adapter(folder)
    with console.loading("torch"):
        from adaptertune_deploy.train.reevaluate import EvaluateRequest, evaluate_task

    request = EvaluateRequest(
        folder=folder,
        split=split,
        dataset=dataset,
        data_dir=data_dir,
        weights=weights,
        device=device,
        allow_missing=allow_missing,
        allow_random=allow_random,
    )
    with console.progress_bars() as progress:
        result = evaluate_task(request, progress)
    for note in result.notes:
        console.print_note(note)
    if as_json:
        names = ("images", "top1", "top5", "loss", "calibration_error")
        facts = {name: getattr(result.scores, name) for name in names}
        console.print_json({"task": adapter, "split": result.split, **facts})
    else:
        show(adapter, result, len(config.task.labels))


def show(task: str, result: Evaluation, classes: int) -> None:
    """Print the scores."""
    found = result.scores
    table.show(
        console.out,
        f"{task}: {result.split} split",
        (*scores.columns(classes), "calibration error"),
        [(*scores.cells(found, classes), f"{found.calibration_error:.3f}")],
    )
    scores.tell_coarse(found.images, result.split)
