"""atd export: trained tasks to ONNX, verified against torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from adaptertune_deploy.cli import completion, console, interrupts, options, table, text
from adaptertune_deploy.cli.options import DATA, ENGINE, OUTPUT, PLACES, flag, value

if TYPE_CHECKING:
    from adaptertune_deploy.core.bundle import Manifest, ParityReport
    from adaptertune_deploy.core.spec import TaskSpec


def export(
    adapters: options.TrainedTasks = None,
    ship: options.Ship = "auto",
    merge: Annotated[bool, flag("--merge", OUTPUT, "Also write one self-contained graph per task.")] = False,
    shared: Annotated[
        bool,
        flag("--shared/--no-shared", OUTPUT, "Write the backbone graph that serves every task.", "--shared"),
    ] = True,
    replace: Annotated[
        bool, flag("--replace", OUTPUT, "Drop tasks and graphs of the bundle that this export does not make.")
    ] = False,
    images: Annotated[
        Path | None,
        value("--images", "FOLDER", DATA, "Images to verify on.", "those that training held back"),
    ] = None,
    provider: Annotated[
        str,
        value("--provider", "NAME", ENGINE, "Verify on: cpu or cuda.", complete=completion.export_providers),
    ] = "cpu",
    adapters_dir: options.AdaptersDir = Path("adapters"),
    out: Annotated[Path, value("--out", "FOLDER", PLACES, "Folder that becomes the bundle.")] = Path("bundle"),
    weights: options.Weights = None,
    allow_random: options.AllowRandom = False,
    as_json: options.Json = False,
) -> None:
    """Export tasks to ONNX and verify the graphs against torch on real images; a graph that differs is not written.

    \b
    atd export                    one backbone graph for all of adapters/
    atd export --merge            also one self-contained graph per task
    atd export --adapters pets --merge --no-shared --out pets-only
    atd export --ship adapter     the adapters, whatever training chose
    """
    from adaptertune_deploy.cli import tasks
    from adaptertune_deploy.core.bundle import MANIFEST_NAME
    from adaptertune_deploy.export.plan import plan_export

    chosen = options.candidate(ship)
    options.check_provider(provider)
    folders = tasks.trained(adapters_dir, adapters)
    plan_export(
        folders, out, merge=merge, shared=shared, images=images, provider=provider, replace=replace, ship=chosen
    )
    with interrupts.stoppable(interrupts.outcome(out / MANIFEST_NAME)):
        with console.loading("torch and onnx"):
            from adaptertune_deploy.export.exporter import export_bundle

        with console.progress_bars() as progress:
            manifest = export_bundle(
                folders,
                out,
                merge=merge,
                shared=shared,
                weights=weights,
                images=images,
                provider=provider,
                replace=replace,
                ship=chosen,
                allow_random=allow_random,
                progress=progress,
                tell=console.print_note,
            )
    if as_json:
        import dataclasses

        console.print_json(dataclasses.asdict(manifest))
    else:
        show_manifest(out, manifest)
        show_next(out, manifest, folders)


def show_manifest(out: Path, manifest: Manifest) -> None:
    """Print how far each graph lies from torch, and how large every file is."""

    def row(task: TaskSpec, form: str, parity: ParityReport, file: str) -> tuple[str, ...]:
        plus = "+ " if form == "shared" else ""
        return (
            task.name,
            task.adapter.words,
            form,
            *_parity_cells(parity),
            plus + text.human_bytes((out / file).stat().st_size),
        )

    rows: list[tuple[str, ...]] = []
    for record in manifest.tasks:
        if record.shared_parity is not None:
            rows.append(row(record.task, "shared", record.shared_parity, record.file))
        if record.merged_parity is not None and record.merged is not None:
            rows.append(row(record.task, "merged", record.merged_parity, record.merged.file))
    if manifest.shared is not None:
        size = text.human_bytes((out / manifest.shared.file).stat().st_size)
        rows.append(("(backbone)", "", "shared", "", "", "", "", "", size))
    words = (table.Words("task"), table.Words("ships"), table.Words("graph"))
    names = (*words, "images", "max diff", "mean", "cosine", "same top-1", "size")
    count = text.plural(len(manifest.tasks), "task")
    table.show(console.out, f"{out}/: {count} on {manifest.backbone.name}, graphs against torch", names, rows)


def show_next(out: Path, manifest: Manifest, folders: Sequence[Path]) -> None:
    """Print the commands that serve the tasks and that ask about one of the held-back images."""
    from adaptertune_deploy.cli import next as following

    image = next((image for image in map(following.sample_image, folders) if image is not None), None)
    console.print_next(*following.serving(out, [record.task.name for record in manifest.tasks], image))


def _parity_cells(parity: ParityReport) -> tuple[str, ...]:
    return (
        str(parity.images),
        f"{parity.max_abs:.1e}",
        f"{parity.mean_abs:.1e}",
        f"{parity.cosine:.7f}",
        f"{100 * parity.top1_agreement:.0f} %",
    )
