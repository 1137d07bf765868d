"""What a quickstart found: plain values for a script, tables for a person."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from adaptertune_deploy.cli.terminal import console, table, text
from adaptertune_deploy.cli.terminal import next as following
from adaptertune_deploy.core.adapter.training_record import in_epochs
from adaptertune_deploy.core.bundle.manifest import FORMS

if TYPE_CHECKING:
    from adaptertune_deploy.cli.quickstart.served import Served
    from adaptertune_deploy.core.bundle.manifest import Manifest
    from adaptertune_deploy.train.trainer import TrainResult


def facts(
    bundle: Path, results: Sequence[TrainResult], manifest: Manifest, served: Served, seconds: float
) -> dict[str, Any]:
    """Return what was measured as plain JSON values.

    Args:
        bundle: its folder.
        results: of the trainings, in the order of the manifest's tasks.
        manifest: the bundle's, both forms verified.
        served: what the server answered.
        seconds: of the whole quickstart.
    """
    rows = [_task_facts(result, manifest, served) for result in results]
    shared, merged = (sum(graph.bytes for graph in manifest.graphs if graph.form == form) for form in FORMS)
    adapters = sum((bundle / record.file).stat().st_size for record in manifest.tasks)
    return {
        "backbone": manifest.backbone.name,
        "tasks": rows,
        "merged_bytes": merged,
        "shared_bytes": shared + adapters,
        "adapter_bytes": adapters // len(results),
        "mixed_batch_images": served.images,
        "mixed_batch_right": served.right,
        "largest_difference_served": served.largest_difference,
        "seconds": round(seconds, 1),
    }


def _task_facts(result: TrainResult, manifest: Manifest, served: Served) -> dict[str, Any]:
    from adaptertune_deploy.train.outcome.results import measure_facts

    measured, name, recipe = result.measured, result.config.task.name, result.config.recipe
    assert measured.adapter is not None  # quickstart asks for a rank from 1
    assert recipe is not None
    labels = result.config.task.labels
    parities = manifest.parity_of(name)
    return {
        "task": name,
        "trainable": measured.adapter.parameters,
        "share": measured.adapter.parameters / measured.frozen,
        "epochs": recipe.epochs,
        "lr": recipe.lr,
        "head": measure_facts(measured.head, labels),
        "adapter": measure_facts(measured.adapter, labels),
        "ships": measured.ships,
        "test_images": measured.head.scores.images,
        "max_abs": max(parity.max_abs for parity in parities),
        "top1_agreement": min(parity.agreement for parity in parities),
        "latency_ms": served.latency_ms[name],
    }


def show(found: dict[str, Any], out: Path) -> None:
    """Print the tables, where everything came from, and what to run next.

    Args:
        found: see facts.
        out: the quickstart's folder.
    """
    rows = found["tasks"]
    names = ("head alone", "adapter + head", "ships", "max diff", "HTTP")  # fits 80 columns with these two tasks
    title = f"{text.plural(len(rows), 'task')}, one frozen backbone: {found['backbone']}"
    table.show(console.out, title, (table.Words("task"), *names), [_row(row) for row in rows])
    schedules = "; ".join(f"{row['task']} {in_epochs(row['epochs'])} at lr {row['lr']:g}" for row in rows)
    console.out.print()
    _show_sizes(found)
    console.out.print()
    console.print_line(f"schedule: {schedules}; it is quickstart's own, atd train takes longer ones")
    console.print_line(
        "source: the backbone and the images of shapes were drawn by formulas, digits are real scans; "
        "the numbers show that the path works, not what photographs gain"
    )
    right, images = found["mixed_batch_right"], found["mixed_batch_images"]
    console.print_line(
        f"checked: both forms answer as torch does (max diff); the server answered "
        f"{text.plural(images, 'image')} of all tasks in one request, {right} of them right"
    )
    console.print_line(f"wrote {out}/adapters/ and {out}/bundle/ in {text.human_seconds(found['seconds'])}")
    last = rows[-1]["task"]
    image = following.sample_image(out / "adapters" / last)
    commands = following.serving(out / "bundle", [row["task"] for row in rows], image)
    console.print_next(*commands, following.command("atd", "train", "--dataset", "pets", "--rank", 8))


def _row(row: dict[str, Any]) -> tuple[str | Text, ...]:
    cells = {name: text.accuracy(row[name]["top1"], row["test_images"]) for name in ("head", "adapter")}
    styled = {name: Text(cell, style="bold green" if name == row["ships"] else "") for name, cell in cells.items()}
    return (
        row["task"],
        styled["head"],
        styled["adapter"],
        row["ships"],
        f"{row['max_abs']:.1e}",
        f"{row['latency_ms']:.1f} ms",
    )


def _show_sizes(found: dict[str, Any]) -> None:
    count, adapter = len(found["tasks"]), found["adapter_bytes"]
    merged, backbone = found["merged_bytes"] / count, found["shared_bytes"] - count * adapter
    measured = f"{text.plural(count, 'task')}, measured"
    rows = [
        (
            "a merged graph per task",
            text.human_bytes(found["merged_bytes"]),
            *(text.human_bytes(number * merged) for number in (10, 100)),
        ),
        (
            "one backbone + adapters",
            text.human_bytes(found["shared_bytes"]),
            *(text.human_bytes(backbone + number * adapter) for number in (10, 100)),
        ),
    ]
    names = (table.Words("size on disk"), measured, "10 tasks, calculated", "100 tasks, calculated")
    table.show(console.out, "", names, rows)
