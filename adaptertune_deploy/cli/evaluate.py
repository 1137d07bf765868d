"""atd evaluate: accuracy of a trained task on a split of its dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adaptertune_deploy.cli import console, options


def evaluate(
    adapter: Annotated[str, typer.Option("--adapter", help="Task to evaluate.")],
    split: Annotated[str, typer.Option("--split", help="train, val or test. [default: test, else val]")] = "",
    dataset: Annotated[
        str | None, typer.Option("--dataset", help="Name or image folder. [default: what it was trained on]")
    ] = None,
    data_dir: options.DataDir = None,
    weights: options.Weights = None,
    adapters_dir: options.AdaptersDir = Path("adapters"),
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")] = "auto",
    allow_missing: options.AllowMissing = False,
    allow_random: Annotated[bool, typer.Option("--allow-random-backbone", hidden=True)] = False,
    as_json: options.Json = False,
) -> None:
    """Measure a trained task on the same split that training held back.

    \b
    atd evaluate --adapter pets
    atd evaluate --adapter pets --split val --json
    """
    with console.loading("torch"):
        from adaptertune_deploy.train.reevaluate import EvaluateRequest, evaluate_task

    request = EvaluateRequest(
        folder=adapters_dir / adapter,
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
    scores = result.scores
    if as_json:
        facts = {name: getattr(scores, name) for name in ("images", "top1", "top5", "loss", "calibration_error")}
        console.print_json({"task": adapter, "split": result.split, **facts})
        return
    table = console.make_table(f"{adapter}: {result.split} split", "images", "top-1", "top-5", "loss", "calibration")
    values = (f"{scores.top1:.1%}", f"{scores.top5:.1%}", f"{scores.loss:.3f}", f"{scores.calibration_error:.3f}")
    table.add_row(str(scores.images), *values)
    console.out.print(table)
