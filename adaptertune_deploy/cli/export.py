"""atd export: trained tasks to ONNX, verified against torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adaptertune_deploy.cli import console, options
from adaptertune_deploy.core.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from adaptertune_deploy.core.bundle import Manifest, ParityReport


def export(
    adapters: options.TaskList = None,
    adapters_dir: options.AdaptersDir = Path("adapters"),
    out: Annotated[Path, typer.Option("--out", help="Folder that becomes the bundle.")] = Path("bundle"),
    merge: Annotated[bool, typer.Option("--merge", help="Also write one self-contained graph per task.")] = False,
    shared: Annotated[
        bool, typer.Option("--shared/--no-shared", help="Write the backbone graph that serves every task.")
    ] = True,
    weights: options.Weights = None,
    images: Annotated[
        Path | None,
        typer.Option("--images", help="Folder of images to verify on. [default: adapters/TASK/samples]"),
    ] = None,
    provider: Annotated[str, typer.Option("--provider", help="Verify on: cpu or cuda.")] = "cpu",
    allow_random: Annotated[bool, typer.Option("--allow-random-backbone", hidden=True)] = False,
    as_json: options.Json = False,
) -> None:
    """Export tasks to ONNX and verify the graphs against torch on real images; a graph that differs is not written.

    \b
    atd export                            one backbone graph for every adapter in adapters/
    atd export --merge                    also one self-contained graph per task
    atd export --adapters pets --merge --no-shared --out pets-only
    """
    folders = _folders(adapters_dir, options.split_names(adapters))
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
            allow_random=allow_random,
            progress=progress,
        )
    if as_json:
        import dataclasses

        console.print_json(dataclasses.asdict(manifest))
    else:
        show_manifest(out, manifest)


def _folders(root: Path, names: list[str] | None) -> list[Path]:
    from adaptertune_deploy.core.adapter import list_adapters

    there = list_adapters(root)
    if not there:
        raise UsageError(f"{root}: holds no adapters; train one first: atd train --dataset pets --rank 8")
    if names is None:
        return list(there)
    known = {path.name: path for path in there}
    for name in names:
        if name not in known:
            raise UsageError(f"{root}: holds no adapter '{name}', only {', '.join(known)}.{did_you_mean(name, known)}")
    return [known[name] for name in names]


def show_manifest(out: Path, manifest: Manifest) -> None:
    """Print how far each graph lies from torch, and how large every file is."""
    parity = console.make_table(
        f"{out}/: {len(manifest.tasks)} tasks on {manifest.backbone.name}, graphs against torch",
        "task",
        "graph",
        "images",
        "max diff",
        "mean",
        "cosine",
        "top-1",
        "size",
    )
    for record in manifest.tasks:
        if record.shared_parity is not None:
            size = console.human_bytes((out / record.file).stat().st_size)
            parity.add_row(record.task.name, "shared", *_parity_cells(record.shared_parity), f"+ {size}")
        if record.merged_parity is not None and record.merged is not None:
            size = console.human_bytes((out / record.merged.file).stat().st_size)
            parity.add_row(record.task.name, "merged", *_parity_cells(record.merged_parity), size)
    if manifest.shared is not None:
        size = console.human_bytes((out / manifest.shared.file).stat().st_size)
        parity.add_row("(backbone)", "shared", "", "", "", "", "", size)
    console.out.print(parity)
    names = ",".join(record.task.name for record in manifest.tasks)
    console.print_next(f"atd serve --adapters {names}", f"atd predict IMAGE --adapters {names}")


def _parity_cells(parity: ParityReport) -> tuple[str, ...]:
    return (
        str(parity.images),
        f"{parity.max_abs:.1e}",
        f"{parity.mean_abs:.1e}",
        f"{parity.cosine:.7f}",
        f"{parity.top1_agreement:.0%}",
    )
