"""atd quickstart: the whole path on small data, with the backbone that ships in the package."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adaptertune_deploy.cli import console, options
from adaptertune_deploy.core.errors import AtdError

if TYPE_CHECKING:
    from adaptertune_deploy.cli.served import Served
    from adaptertune_deploy.core.bundle import Manifest, TaskRecord
    from adaptertune_deploy.train.trainer import TrainResult

ADAPTERS, BUNDLE = Path("adapters"), Path("bundle")
# task -> (epochs, learning rate): shapes are far from what the head alone can tell apart, digits are close to it.
SCHEDULES = {"digits": (5, 3e-3), "shapes": (8, 1e-2)}


def quickstart(
    rank: Annotated[int, typer.Option("--rank", help="Width of every adapter.")] = 8,
    epochs: Annotated[int, typer.Option("--epochs", help="Passes over each dataset; 0: enough for each.", min=0)] = 0,
    as_json: options.Json = False,
) -> None:
    """Train two small tasks, export both forms, verify, serve and measure: about two minutes on two CPU cores.

    Uses digits (real scans, from scikit-learn), shapes (drawn by this package) and a small pretrained backbone that
    ships in the package, so it needs no network. Leaves adapters/ and bundle/ in the current folder.
    """
    started = time.perf_counter()
    with console.loading("torch and onnx"):
        from adaptertune_deploy.cli.served import ask_server
        from adaptertune_deploy.export.exporter import export_bundle

    with console.progress_bars() as progress:
        results = [_train(task, rank, epochs, progress) for task in SCHEDULES]
        manifest = export_bundle([result.folder for result in results], BUNDLE, merge=True, progress=progress)
        served = ask_server(BUNDLE, [result.folder for result in results], progress)
    _check_agreement(manifest)
    facts = _facts(results, manifest, served, time.perf_counter() - started)
    if as_json:
        console.print_json(facts)
    else:
        _show(facts)


def _train(task: str, rank: int, epochs: int, progress: Any) -> TrainResult:
    from adaptertune_deploy.model.embedded import EMBEDDED_NAME
    from adaptertune_deploy.train.recipe import Recipe
    from adaptertune_deploy.train.trainer import TrainRequest, train_task

    def labelled(what: str, done: int, total: int) -> None:
        progress(f"{task}: {what}", done, total)

    usual, lr = SCHEDULES[task]
    recipe = Recipe(rank=rank, epochs=epochs or usual, lr=lr)
    return train_task(TrainRequest(task, EMBEDDED_NAME, ADAPTERS, recipe), labelled)


def _check_agreement(manifest: Manifest) -> None:
    """Refuse to call the bundle good unless both forms were compared with torch; export itself refuses a difference."""
    for record in manifest.tasks:
        if record.shared_parity is None or record.merged_parity is None:
            raise AtdError(
                f"task '{record.task.name}' was exported without a parity check; this is a defect, report it"
            )


def _facts(results: list[TrainResult], manifest: Manifest, served: Served, seconds: float) -> dict[str, Any]:
    rows = [_task_facts(result, record, served) for result, record in zip(results, manifest.tasks, strict=True)]
    graphs = [manifest.shared, *(record.merged for record in manifest.tasks)]
    shared, *merged = [(BUNDLE / graph.file).stat().st_size for graph in graphs if graph is not None]
    adapters = sum((BUNDLE / record.file).stat().st_size for record in manifest.tasks)
    return {
        "backbone": manifest.backbone.name,
        "tasks": rows,
        "merged_bytes": sum(merged),
        "shared_bytes": shared + adapters,
        "adapter_bytes": adapters // len(results),
        "mixed_batch_images": served.images,
        "mixed_batch_right": served.right,
        "largest_difference_served": served.largest_difference,
        "seconds": round(seconds, 1),
    }


def _task_facts(result: TrainResult, record: TaskRecord, served: Served) -> dict[str, Any]:
    measured, name = result.measured, record.task.name
    parities = [parity for parity in (record.shared_parity, record.merged_parity) if parity is not None]
    return {
        "task": name,
        "trainable": measured.trainable,
        "share": measured.trainable / measured.frozen,
        "head_only_top1": measured.head_only.top1,
        "adapter_top1": measured.adapter.top1,
        "test_images": measured.adapter.images,
        "max_abs": max(parity.max_abs for parity in parities),
        "top1_agreement": min(parity.top1_agreement for parity in parities),
        "latency_ms": served.latency_ms[name],
    }


def _show(facts: dict[str, Any]) -> None:
    table = console.make_table(
        f"\n{len(facts['tasks'])} tasks, one frozen backbone: {facts['backbone']}",
        "task",
        "trained parameters",
        "head alone",
        "adapter",
        "graph - torch",
        "over HTTP",
    )
    for row in facts["tasks"]:
        table.add_row(
            row["task"],
            f"{row['trainable']:,} ({row['share']:.1%})",
            f"{row['head_only_top1']:.1%}",
            f"[bold green]{row['adapter_top1']:.1%}[/]",
            f"{row['max_abs']:.1e}",
            f"{row['latency_ms']:.1f} ms",
        )
    console.out.print(table)
    count = len(facts["tasks"])
    sizes = console.make_table("\nOn disk", "", "now", "10 tasks", "100 tasks")
    merged, adapter = facts["merged_bytes"] / count, facts["adapter_bytes"]
    backbone = facts["shared_bytes"] - count * adapter
    now = (console.human_bytes(facts["merged_bytes"]), console.human_bytes(facts["shared_bytes"]))
    sizes.add_row("a merged graph per task", now[0], *(console.human_bytes(n * merged) for n in (10, 100)))
    sizes.add_row("one backbone + adapters", now[1], *(console.human_bytes(backbone + n * adapter) for n in (10, 100)))
    console.out.print(sizes)
    console.out.print(
        f"\nBoth forms answer as torch does; the server answered {facts['mixed_batch_images']} images of both tasks "
        f"in one request, {facts['mixed_batch_right']} of them right. "
        f"All in {console.human_seconds(facts['seconds'])}; adapters/ and bundle/ are yours.\n",
        soft_wrap=True,
    )
    console.print_next(
        f"atd serve --adapters {','.join(SCHEDULES)}",
        "atd predict adapters/shapes/samples/* --adapters shapes",
        "atd train --dataset path/to/your/images --rank 8",
    )
