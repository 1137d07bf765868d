"""What a bundle holds, and whether each file is the one that the manifest vouches for.

`atd list` answers another question: which tasks can be asked for, and how far their graphs lie from torch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path

from adaptertune_deploy.core.bundle import folder as bundle
from adaptertune_deploy.core.bundle.folder import MANIFEST_NAME
from adaptertune_deploy.core.bundle.manifest import GraphRecord, Manifest, TaskRecord
from adaptertune_deploy.core.errors import AtdError
from adaptertune_deploy.inspection.inspected import Inspected, Sheet, Size

GOOD = "as the manifest says"


def fits(path: Path) -> bool:
    """Return whether a path is a bundle, or its manifest."""
    return (_folder(path) / MANIFEST_NAME).is_file()


def inspect(path: Path) -> Inspected:
    """Read a bundle's manifest and every file that it names; what differs is a fault.

    Raises:
        FormatError: the manifest can't be read.
    """
    folder = _folder(path)
    manifest = bundle.read_manifest(folder)
    faults: dict[str, str] = {}
    for graph in manifest.graphs:
        _try(faults, graph.file, partial(bundle.read_graph, folder, graph))
    for record in manifest.tasks:
        _try(faults, record.file, partial(bundle.read_task, folder, manifest, record))
    named = {MANIFEST_NAME, *manifest.files}
    others = sorted(set(_files(folder)) - named)
    sizes = {name: (folder / name).stat().st_size for name in named - set(others) if (folder / name).is_file()}
    backbone = manifest.backbone
    facts = {
        **dataclasses.asdict(manifest),
        "sizes": sizes,
        "unnamed_files": others,
        "faults": list(faults.values()),
    }
    summary = (
        ("backbone", f"{backbone.name}, {backbone.depth} blocks of width {backbone.width}, {backbone.sha256[:12]}..."),
        ("images", f"{manifest.preprocess.size[0]} x {manifest.preprocess.size[1]}, {manifest.preprocess.crop_mode}"),
        ("slots", f"after {len(manifest.slots)} blocks: {', '.join(map(str, manifest.slots))}"),
        ("format", f"version {manifest.format_version}, written with {_versions(manifest)}"),
        ("parity", f"{len(manifest.parity)} measurements; they are shown by: atd list"),
        ("size", Size(sum(sizes.values()))),
        *((("other files", ", ".join(others[:8])),) if others else ()),
    )
    sheets = (_graphs(manifest, faults), _tasks(folder, manifest, faults))
    return Inspected("bundle", facts, summary, sheets, tuple(faults.values()))


def _folder(path: Path) -> Path:
    return path.parent if path.name == MANIFEST_NAME and path.is_file() else path


def _files(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]


def _try(faults: dict[str, str], file: str, read: Callable[[], object]) -> None:
    try:
        read()
    except AtdError as error:
        faults[file] = str(error)


def _versions(manifest: Manifest) -> str:
    return ", ".join(f"{name} {number}" for name, number in manifest.versions.items()) or "no version noted"


def _graphs(manifest: Manifest, faults: dict[str, str]) -> Sheet:
    def row(graph: GraphRecord) -> tuple[str | Size, ...]:
        inputs = f"{len(graph.inputs)} of {', '.join(sorted(set(graph.inputs.values())))}"
        state = "damaged or absent" if graph.file in faults else GOOD
        versions = f"{graph.opset} / {graph.ir_version}"
        return graph.file, graph.task or "any", state, inputs, str(graph.precision), versions, Size(graph.bytes)

    words = ("graph", "task", "file", "inputs")
    return Sheet("graphs", words, ("precision", "opset / IR", "size"), tuple(map(row, manifest.graphs)))


def _tasks(folder: Path, manifest: Manifest, faults: dict[str, str]) -> Sheet:
    def row(record: TaskRecord) -> tuple[str | Size, ...]:
        adapter = record.task.adapter
        path = folder / record.file
        size: str | Size = Size(path.stat().st_size) if path.is_file() else ""
        state = "damaged or absent" if record.file in faults else GOOD
        blocks = ", ".join(map(str, adapter.blocks)) or "none"
        return record.task.name, record.file, state, blocks, str(adapter.rank), str(len(record.task.labels)), size

    words = ("task", "tensors", "file", "adapts blocks")
    return Sheet("tasks", words, ("rank", "labels", "size"), tuple(map(row, manifest.tasks)))
