"""A bundle's manifest as a table: every graph of every task, how far it lies from torch, and its size."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from adaptertune_deploy.cli.terminal import console, table, text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from adaptertune_deploy.core.bundle.manifest import GraphRecord, Manifest, ParityRecord, TaskRecord


def show_manifest(out: Path, manifest: Manifest) -> None:
    """Print how far each graph lies from torch, and how large every file is."""
    rows: list[tuple[str, ...]] = []
    for record in manifest.tasks:
        for graph in manifest.graphs:
            if graph.task in (None, record.task.name):
                rows.extend(_rows(out, manifest, record, graph))
    for graph in manifest.graphs:
        if graph.task is None:
            rows.append(("(backbone)", "", _name(graph), "", "", "", "", "", "", text.human_bytes(graph.bytes)))
    words = [table.Words(name) for name in ("task", "ships", "graph", "measured on")]
    names: list[str | table.Words] = [*words, "images", "max diff", "mean", "cosine", "same top-1", "size"]
    count = text.plural(len(manifest.tasks), "task")
    table.show(console.out, f"{out}/: {count} on {manifest.backbone.name}, graphs against torch", names, rows)


def _rows(out: Path, manifest: Manifest, record: TaskRecord, graph: GraphRecord) -> Iterator[tuple[str, ...]]:
    """Yield a line for each measurement of a task on a graph, or one that says that there is none."""
    size = text.human_bytes(graph.bytes) if graph.task else f"+ {_size(out / record.file)}"
    entries = [entry for entry in manifest.parity_of(record.task.name) if entry.graph == graph.file]
    for cells in [_parity_cells(entry, graph) for entry in entries] or [("nothing", "", "", "", "", "")]:
        yield (record.task.name, record.task.adapter.words, _name(graph), *cells, size)


def _name(graph: GraphRecord) -> str:
    return f"{graph.form} {graph.precision}"


def _size(path: Path) -> str:
    return text.human_bytes(path.stat().st_size) if path.exists() else "absent"


def _parity_cells(parity: ParityRecord, graph: GraphRecord) -> tuple[str, ...]:
    made = f" in {parity.precision}" if parity.precision is not graph.precision else ""
    return (
        f"{parity.engine} {parity.provider.removesuffix('ExecutionProvider')}{made}",
        str(parity.images),
        f"{parity.max_abs:.1e}",
        f"{parity.mean_abs:.1e}",
        f"{parity.cosine:.7f}",
        f"{100 * parity.agreement:.0f} %",
    )
