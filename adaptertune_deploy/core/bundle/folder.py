"""The folder bundle/: what export writes and a device gets.

    manifest.json                            vouches for every other file by its SHA-256
    backbone-<precision>-<hash>.onnx         the shared graph, when that form was exported
    adapters/<task>-<hash>.safetensors       one per task: what ships of it
    merged/<task>-<precision>-<hash>.onnx    one self-contained graph per task, when that form was exported

A file's name carries the start of its hash, so a change writes new files beside the old ones, then the manifest: who
reads in between finds the old bundle or the new one, never a mixture. core.bundle.publish makes such changes.
"""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping
from pathlib import Path

from adaptertune_deploy.core.adapter import folder as adapters
from adaptertune_deploy.core.adapter.folder import Adapter, AdapterConfig
from adaptertune_deploy.core.adapter.identity import Identity
from adaptertune_deploy.core.bundle import graph_facts
from adaptertune_deploy.core.bundle.graph_facts import GraphFacts
from adaptertune_deploy.core.bundle.manifest import FORMAT_VERSION, GraphRecord, Manifest, TaskRecord, graph_file
from adaptertune_deploy.core.errors import FormatError
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.core.spec import BackboneSpec, PreprocessSpec
from adaptertune_deploy.core.storage import files, records
from adaptertune_deploy.core.storage.held_file import HeldFile

MANIFEST_NAME = "manifest.json"


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write manifest.json; call it after every file it names."""
    records.write(folder / MANIFEST_NAME, manifest)


def read_manifest(folder: Path) -> Manifest:
    """Read manifest.json.

    Raises:
        FormatError: no bundle there, unknown version or field, values that contradict each other.
    """
    check_there(folder)
    older = f"convert it with: atd upgrade {shlex.quote(str(folder))}"
    return records.read(folder / MANIFEST_NAME, Manifest, FORMAT_VERSION, older)


def check_there(folder: Path) -> None:
    """Raise FormatError unless a folder holds a manifest, whatever it says."""
    if not (folder / MANIFEST_NAME).exists():
        raise FormatError(f"{folder}: holds no {MANIFEST_NAME}; make a bundle with: atd export")


def read_graph(folder: Path, graph: GraphRecord, held: HeldFile | None = None) -> bytes:
    """Return a graph's bytes after comparing them with their size and hash; these are to be run, not the path again.

    Args:
        folder: the bundle.
        graph: of its manifest.
        held: the graph's file where it was opened before, which is read whatever lies in the folder now.

    Raises:
        FormatError: absent, no regular file, or of another size or hash.
    """
    path = folder / graph.file
    if held is None and not path.exists():
        raise FormatError(f"{path}: no such file, though the manifest names it; run atd export again")
    data = files.read_regular(path, graph.bytes) if held is None else held.read(graph.bytes)
    if len(data) != graph.bytes:
        raise FormatError(f"{path}: holds {len(data):,} bytes, the manifest says {graph.bytes:,}; run atd export again")
    found = files.sha256_bytes(data)
    if found != graph.sha256:
        raise FormatError(
            f"{path}: sha256 is {found[:12]}..., the manifest says {graph.sha256[:12]}...; run atd export again"
        )
    return data


def record_graph(
    data: bytes,
    form: str,
    inputs: Mapping[str, str],
    *,
    opset: int,
    ir_version: int,
    task: str | None = None,
    precision: Precision = Precision.FP32,
    source: str | None = None,
    calibration: str | None = None,
) -> GraphRecord:
    """Return the record of a graph's bytes; see core.bundle.manifest.GraphRecord for the arguments."""
    sha256 = files.sha256_bytes(data)
    file = graph_file(form, precision, sha256, task)
    return GraphRecord(
        form, task, precision, file, sha256, len(data), opset, ir_version, dict(inputs), source, calibration
    )


def facts_of(manifest: Manifest, task: str | None) -> GraphFacts:
    """Return what the merged graph of a task of the manifest, or the shared one for None, must say about itself."""
    if task is None:
        return shared_facts(manifest)
    return merged_facts(manifest, next(record for record in manifest.tasks if record.task.name == task))


def shared_facts(manifest: Manifest) -> GraphFacts:
    """Return what the shared graph of a bundle must say about itself."""
    return GraphFacts(graph_facts.FORMAT_VERSION, manifest.backbone, manifest.preprocess, manifest.slots)


def merged_facts(manifest: Manifest, record: TaskRecord) -> GraphFacts:
    """Return what the merged graph of a task must say about itself."""
    blocks = record.task.adapter.blocks
    return GraphFacts(graph_facts.FORMAT_VERSION, manifest.backbone, manifest.preprocess, blocks, record.task)


def read_task(folder: Path, manifest: Manifest, record: TaskRecord, held: HeldFile | None = None) -> Adapter:
    """Read one task's tensors from a bundle, or from its tensor file that was opened before.

    Raises:
        FormatError: see core.adapter.folder.read_adapter.
    """
    from adaptertune_deploy.core.adapter import tensor_file

    identity = Identity(record.task, manifest.backbone, manifest.preprocess)
    path = folder / record.file
    data = tensor_file.read(path, record.sha256, identity, folder / MANIFEST_NAME, held)
    return adapters.unpack(data, identity, str(path))


def check_same_model(config: AdapterConfig, backbone: BackboneSpec, preprocess: PreprocessSpec, where: str) -> None:
    """Raise FormatError when an adapter was trained on another backbone or with other preprocessing."""
    difference = backbone.difference(config.backbone)
    if difference and config.backbone.sha256 == config.tuned_sha256:
        name = config.task.name
        raise FormatError(
            f"task '{name}' was trained by full fine-tuning, so its backbone is its own and shares no bundle with "
            f"other tasks; export it alone: atd export --adapters {name} --merge --no-shared --out bundle-{name}"
        )
    if difference:
        theirs, ours = _describe(config.backbone), _describe(backbone)
        held = ours if ours != theirs else f"another network of that name ({difference})"
        raise FormatError(
            f"task '{config.task.name}' was trained on {theirs}, {where} holds {held}; export it into a bundle of "
            "its own"
        )
    differing = [
        f"{name} {getattr(config.preprocess, name)}, not {getattr(preprocess, name)}"
        for name in (item.name for item in dataclasses.fields(preprocess))
        if getattr(config.preprocess, name) != getattr(preprocess, name)
    ]
    if differing:
        raise FormatError(
            f"task '{config.task.name}' was trained on images prepared otherwise than {where} does it: "
            f"{'; '.join(differing)}; train it again or export it into a bundle of its own"
        )


def _describe(backbone: BackboneSpec) -> str:
    height, width = backbone.image_size
    return f"{backbone.name} at {height} x {width} ({backbone.sha256[:12]}...)"
