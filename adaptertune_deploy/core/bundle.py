"""The folder bundle/: what export writes and a device gets.

    manifest.json                        vouches for every other file by its SHA-256
    backbone-<hash>.onnx                 the shared graph, when that form was exported
    adapters/<task>-<hash>.safetensors   one per task: what ships of it
    merged/<task>-<hash>.onnx            one self-contained graph per task, when that form was exported

A file's name carries the start of its hash, so a change writes new files beside the old ones, then the manifest: who
reads in between finds the old bundle or the new one, never a mixture. core.publish makes such changes.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from pathlib import Path

from adaptertune_deploy.core import adapter as adapters
from adaptertune_deploy.core import files, graph_facts, records
from adaptertune_deploy.core.adapter import Adapter, AdapterConfig, Identity
from adaptertune_deploy.core.errors import FormatError, UsageError, did_you_mean
from adaptertune_deploy.core.graph_facts import GraphFacts
from adaptertune_deploy.core.spec import BackboneSpec, PreprocessSpec, TaskSpec, check_sha256

FORMAT_VERSION = 1
MANIFEST_NAME = "manifest.json"
GRAPH_LIMIT = 1 << 31  # protobuf's limit for one message
FILE = re.compile(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*")


@dataclass(frozen=True)
class ParityReport:
    """How far a graph's logits lie from torch's on the same preprocessed images, fp32 torch on the CPU.

    images: number of images compared.
    max_abs, mean_abs: of |logits - torch's logits|.
    cosine: the smallest cosine between a row of logits and torch's row.
    top1_agreement: share of rows with the same first class, 0..1.
    tolerance: the largest max_abs that was allowed, atol + rtol times the largest logit.
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

    def __post_init__(self) -> None:
        check_sha256(self.sha256)


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

    def __post_init__(self) -> None:
        check_sha256(self.sha256)


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
        for path, name in self._named():
            if FILE.fullmatch(path) is None or not {".", ".."}.isdisjoint(path.split("/")):
                raise ValueError(
                    f"file {path!r:.80} must be a path below the bundle, of letters, digits, '.', '_', '-'"
                )
            if path != name:
                raise ValueError(f"file {path!r:.80} must be called {name}")

    def _named(self) -> list[tuple[str, str]]:
        """Return every file that the manifest names, with the name that it must have."""
        named = [(record.file, tensor_file(record.task.name, record.sha256)) for record in self.tasks]
        named += [
            (record.merged.file, merged_file(record.task.name, record.merged.sha256))
            for record in self.tasks
            if record.merged is not None
        ]
        if self.shared is not None:
            named.append((self.shared.file, shared_file(self.shared.sha256)))
        return named

    @property
    def files(self) -> tuple[str, ...]:
        """Every file that the manifest names, as paths below the bundle's folder."""
        return tuple(path for path, _ in self._named())


def shared_file(sha256: str) -> str:
    """Return the path of the shared graph below the bundle's folder."""
    return f"backbone-{sha256[:8]}.onnx"


def tensor_file(task: str, sha256: str) -> str:
    """Return the path of a task's tensor file below the bundle's folder."""
    return f"adapters/{task}-{sha256[:8]}.safetensors"


def merged_file(task: str, sha256: str) -> str:
    """Return the path of a task's merged graph below the bundle's folder."""
    return f"merged/{task}-{sha256[:8]}.onnx"


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write manifest.json; call it after every file it names."""
    records.write(folder / MANIFEST_NAME, manifest)


def read_manifest(folder: Path) -> Manifest:
    """Read manifest.json.

    Raises:
        FormatError: no bundle there, unknown version or field, values that contradict each other.
    """
    if not (folder / MANIFEST_NAME).exists():
        raise FormatError(f"{folder}: holds no {MANIFEST_NAME}; make a bundle with: atd export")
    return records.read(folder / MANIFEST_NAME, Manifest, FORMAT_VERSION)


def select(manifest: Manifest, names: list[str] | None) -> tuple[TaskRecord, ...]:
    """Return the named tasks in the order given, or all of them for None.

    Raises:
        UsageError: a name the bundle does not hold, or one given twice.
    """
    known = {record.task.name: record for record in manifest.tasks}
    if names is None:
        return manifest.tasks
    if not names:
        raise UsageError(f"no task was named; name one or more of {', '.join(known)}")
    for name in names:
        if name not in known:
            raise UsageError(f"the bundle holds no task '{name}', only {', '.join(known)}.{did_you_mean(name, known)}")
    if len(set(names)) != len(names):
        raise UsageError(f"a task is named twice in {','.join(names)}; name each once")
    return tuple(known[name] for name in names)


def read_graph(folder: Path, graph: GraphRecord) -> bytes:
    """Return a graph's bytes after comparing them with their hash; these bytes are to be run, not the path again.

    Raises:
        FormatError: absent, no regular file, or of another hash.
    """
    path = folder / graph.file
    if not path.exists():
        raise FormatError(f"{path}: no such file, though the manifest names it; run atd export again")
    data = files.read_regular(path, GRAPH_LIMIT)
    found = files.sha256_bytes(data)
    if found != graph.sha256:
        raise FormatError(
            f"{path}: sha256 is {found[:12]}..., the manifest says {graph.sha256[:12]}...; run atd export again"
        )
    return data


def shared_facts(manifest: Manifest) -> GraphFacts:
    """Return what the shared graph of a bundle must say about itself."""
    return GraphFacts(graph_facts.FORMAT_VERSION, manifest.backbone, manifest.preprocess, manifest.slots)


def merged_facts(manifest: Manifest, record: TaskRecord) -> GraphFacts:
    """Return what the merged graph of a task must say about itself."""
    blocks = record.task.adapter.blocks
    return GraphFacts(graph_facts.FORMAT_VERSION, manifest.backbone, manifest.preprocess, blocks, record.task)


def read_task(folder: Path, manifest: Manifest, record: TaskRecord) -> Adapter:
    """Read one task's tensors from a bundle.

    Raises:
        FormatError: see core.adapter.read_adapter.
    """
    from adaptertune_deploy.core import tensor_file

    identity = Identity(record.task, manifest.backbone, manifest.preprocess)
    path = folder / record.file
    data = tensor_file.read(path, record.sha256, identity, folder / MANIFEST_NAME)
    return adapters.unpack(data, identity, str(path))


def check_same_model(config: AdapterConfig, backbone: BackboneSpec, preprocess: PreprocessSpec, where: str) -> None:
    """Raise FormatError when an adapter was trained on another backbone or with other preprocessing."""
    if difference := backbone.difference(config.backbone):
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
