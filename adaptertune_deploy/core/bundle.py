"""The folder bundle/: what export writes and a device gets.

    manifest.json                    written last; vouches for every other file by its SHA-256
    backbone.onnx                    the shared graph, when that form was exported
    adapters/<task>-<hash>.safetensors   one per task, the bytes of its adapter_model.safetensors
    merged/<task>.onnx               one self-contained graph per task, when that form was exported

A task's file name carries the start of its hash, so replacing a task writes a new file, then the manifest, then
removes the old file: whoever reads, or is killed, in between finds the old task or the new one, never a mixture.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from pathlib import Path

from adaptertune_deploy.core import adapter as adapters
from adaptertune_deploy.core import bank, files
from adaptertune_deploy.core.adapter import Adapter, AdapterConfig
from adaptertune_deploy.core.errors import FormatError, UsageError, did_you_mean
from adaptertune_deploy.core.spec import BackboneSpec, PreprocessSpec, TaskSpec

FORMAT_VERSION = 1
MANIFEST_NAME = "manifest.json"
BACKBONE_NAME = "backbone.onnx"
FILE = re.compile(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*")


@dataclass(frozen=True)
class ParityReport:
    """How far a graph's logits lie from torch's on the same preprocessed images, fp32 torch on the CPU.

    images: number of images compared.
    max_abs, mean_abs: of |logits - torch's logits|.
    cosine: the smallest cosine between a row of logits and torch's row.
    top1_agreement: share of rows with the same first class, 0..1.
    tolerance: the largest max_abs that was allowed.
    provider: the execution provider that ran the graph.
    """

    images: int
    max_abs: float
    mean_abs: float
    cosine: float
    top1_agreement: float
    tolerance: float
    provider: str


@dataclass(frozen=True)
class GraphRecord:
    """One ONNX graph of a bundle.

    file: path below the bundle's folder.
    """

    file: str
    sha256: str
    precision: str
    opset: int
    ir_version: int


@dataclass(frozen=True)
class TaskRecord:
    """One task of a bundle.

    file, sha256: its tensor file.
    shared_parity, merged_parity: None when that form was not measured with this task.
    """

    task: TaskSpec
    file: str
    sha256: str
    merged: GraphRecord | None = None
    shared_parity: ParityReport | None = None
    merged_parity: ParityReport | None = None


@dataclass(frozen=True)
class Manifest:
    """What a bundle holds (manifest.json).

    slots: indices of the blocks after which the shared graph has an adapter slot.
    shared: None when the bundle holds merged graphs only.
    versions: library -> version that exported it.
    """

    format_version: int
    backbone: BackboneSpec
    preprocess: PreprocessSpec
    slots: tuple[int, ...]
    tasks: tuple[TaskRecord, ...]
    shared: GraphRecord | None = None
    versions: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [record.task.name for record in self.tasks]
        if len(set(names)) != len(names):
            raise ValueError(f"a task appears twice among {', '.join(names)}")
        paths = [record.file for record in self.tasks]
        paths += [graph.file for graph in (self.shared, *(record.merged for record in self.tasks)) if graph]
        for path in paths:
            if FILE.fullmatch(path) is None or not {".", ".."}.isdisjoint(path.split("/")):
                raise ValueError(
                    f"file {path!r:.80} must be a path below the bundle, of letters, digits, '.', '_', '-'"
                )
        if len(set(paths)) != len(paths):
            raise ValueError("a file is named twice")


def tensor_file(task: str, sha256: str) -> str:
    """Return the path of a task's tensor file below the bundle's folder."""
    return f"adapters/{task}-{sha256[:8]}.safetensors"


def merged_file(task: str) -> str:
    """Return the path of a task's merged graph below the bundle's folder."""
    return f"merged/{task}.onnx"


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write manifest.json; call it after every file it names."""
    files.write_json(folder / MANIFEST_NAME, manifest)


def read_manifest(folder: Path) -> Manifest:
    """Read manifest.json.

    Raises:
        FormatError: no bundle there, unknown version or field, values that contradict each other.
    """
    if not (folder / MANIFEST_NAME).is_file():
        raise FormatError(f"{folder}: holds no {MANIFEST_NAME}; make a bundle with: atd export")
    return files.read_json(folder / MANIFEST_NAME, Manifest, FORMAT_VERSION)


def select(manifest: Manifest, names: list[str] | None) -> tuple[TaskRecord, ...]:
    """Return the named tasks in the order given, or all of them for None.

    Raises:
        UsageError: a name the bundle does not hold, or one given twice.
    """
    known = {record.task.name: record for record in manifest.tasks}
    if names is None:
        return manifest.tasks
    for name in names:
        if name not in known:
            raise UsageError(f"the bundle holds no task '{name}', only {', '.join(known)}.{did_you_mean(name, known)}")
    if len(set(names)) != len(names):
        raise UsageError(f"a task is named twice in {','.join(names)}; name each once")
    return tuple(known[name] for name in names)


def graph_path(folder: Path, graph: GraphRecord) -> Path:
    """Return a graph's path after comparing the file with its hash.

    Raises:
        FormatError: absent, or of another hash.
    """
    path = folder / graph.file
    if not path.is_file():
        raise FormatError(f"{path}: no such file, though the manifest names it; run atd export again")
    found = files.sha256_file(path)
    if found != graph.sha256:
        raise FormatError(
            f"{path}: sha256 is {found[:12]}..., the manifest says {graph.sha256[:12]}...; run atd export again"
        )
    return path


def read_task(folder: Path, manifest: Manifest, record: TaskRecord) -> Adapter:
    """Read one task's tensors from a bundle.

    Raises:
        FormatError: see core.adapter.read_adapter.
    """
    path = folder / record.file
    data = adapters.read_tensor_file(path, record.task, manifest.backbone, record.sha256)
    return Adapter(record.task, adapters.unpack(data, record.task, manifest.backbone, str(path)))


def check_same_model(config: AdapterConfig, backbone: BackboneSpec, preprocess: PreprocessSpec, where: str) -> None:
    """Raise FormatError when an adapter was trained on another backbone or with other preprocessing."""
    if config.backbone != backbone:
        raise FormatError(
            f"task '{config.task.name}' was trained on {_describe(config.backbone)}, {where} holds "
            f"{_describe(backbone)}; export it into a bundle of its own"
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


def add_task(folder: Path, source: Path) -> TaskRecord:
    """Add a trained task to a bundle, or replace the task of that name; needs no torch and traces nothing.

    Args:
        folder: the bundle.
        source: the folder adapters/<task>/.

    Returns:
        The new record. Its parity is None: the graph was verified before, this task's answers were not. A task that
        the bundle holds already keeps its record.

    Raises:
        FormatError: a damaged adapter, another backbone or preprocessing, no slot for a block, no shared graph.
    """
    manifest = read_manifest(folder)
    config, _ = adapters.read_adapter(source)
    check_same_model(config, manifest.backbone, manifest.preprocess, str(folder))
    if manifest.shared is None:
        raise FormatError(
            f"{folder}: holds merged graphs only, which take no new task; run atd export without --form merged"
        )
    bank.check_slots(config.task.name, config.task.adapter.blocks, manifest.slots)
    record = write_task(folder, source, config)
    old = next((held for held in manifest.tasks if held.task.name == config.task.name), None)
    if old is None:
        write_manifest(folder, dataclasses.replace(manifest, tasks=(*manifest.tasks, record)))
        return record
    if (old.task, old.file, old.sha256) == (record.task, record.file, record.sha256):
        return old
    tasks = tuple(record if held is old else held for held in manifest.tasks)
    write_manifest(folder, dataclasses.replace(manifest, tasks=tasks))
    _remove_replaced(folder, old, record)
    return record


def write_task(folder: Path, source: Path, config: AdapterConfig) -> TaskRecord:
    """Copy a task's tensor file into the bundle and return its record."""
    data = adapters.read_tensor_file(source / adapters.MODEL_NAME, config.task, config.backbone, config.tensors_sha256)
    name = tensor_file(config.task.name, config.tensors_sha256)
    files.write_bytes(folder / name, data)
    return TaskRecord(config.task, name, config.tensors_sha256)


def _remove_replaced(folder: Path, old: TaskRecord, new: TaskRecord) -> None:
    if old.file != new.file:
        (folder / old.file).unlink(missing_ok=True)
    if old.merged is not None:
        (folder / old.merged.file).unlink(missing_ok=True)
