"""Bundles of format version 1, as they were: one float32 graph a form, and a shared graph that held the heads too."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from adaptertune_deploy.core.bundle.folder import MANIFEST_NAME, check_there
from adaptertune_deploy.core.bundle.graph_facts import KEY, GraphFacts
from adaptertune_deploy.core.bundle.manifest import GRAPH_LIMIT, tensor_file
from adaptertune_deploy.core.errors import FormatError
from adaptertune_deploy.core.spec import BackboneSpec, PreprocessSpec, TaskSpec, check_sha256
from adaptertune_deploy.core.storage import files, records

VERSION = 1


@dataclass(frozen=True)
class Parity1:
    """See core.bundle.manifest.ParityRecord; tolerance was the largest max_abs that was allowed."""

    images: int
    max_abs: float
    mean_abs: float
    cosine: float
    top1_agreement: float
    tolerance: float
    provider: str


@dataclass(frozen=True)
class Graph1:
    """See core.bundle.manifest.GraphRecord."""

    file: str
    sha256: str
    precision: str
    opset: int
    ir_version: int

    def __post_init__(self) -> None:
        check_sha256(self.sha256)


@dataclass(frozen=True)
class Task1:
    """A task, its tensor file, its merged graph and what was measured of both forms."""

    task: TaskSpec
    file: str
    sha256: str
    merged: Graph1 | None = None
    shared_parity: Parity1 | None = None
    merged_parity: Parity1 | None = None

    def __post_init__(self) -> None:
        check_sha256(self.sha256)


@dataclass(frozen=True)
class Manifest1:
    """See core.bundle.manifest.Manifest."""

    format_version: int
    backbone: BackboneSpec
    preprocess: PreprocessSpec
    slots: tuple[int, ...]
    tasks: tuple[Task1, ...]
    shared: Graph1 | None = None
    versions: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        named = [(task.file, tensor_file(task.task.name, task.sha256)) for task in self.tasks]
        named += [
            (task.merged.file, f"merged/{task.task.name}-{task.merged.sha256[:8]}.onnx")
            for task in self.tasks
            if task.merged is not None
        ]
        if self.shared is not None:
            named.append((self.shared.file, f"backbone-{self.shared.sha256[:8]}.onnx"))
        for path, name in named:
            if path != name:
                raise ValueError(f"file {path!r:.80} must be called {name}")

    @property
    def files(self) -> tuple[str, ...]:
        """Every file that the manifest names."""
        graphs = [task.merged for task in self.tasks] + [self.shared]
        return (*(task.file for task in self.tasks), *(graph.file for graph in graphs if graph is not None))


def read_manifest(folder: Path) -> Manifest1:
    """Read a manifest of version 1.

    Raises:
        FormatError: none there, another version, or one that contradicts itself.
    """
    return records.read(folder / MANIFEST_NAME, Manifest1, VERSION)


def version_of(folder: Path) -> object:
    """Return the format version that a bundle's manifest says.

    Raises:
        FormatError: no bundle there, or a manifest that is no JSON object.
    """
    check_there(folder)
    path = folder / MANIFEST_NAME
    try:
        data = json.loads(files.read_regular(path, records.FILE_LIMIT))
        return data["format_version"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise FormatError(f"{path}: says no format_version; make a bundle with: atd export") from None


def read_graph(folder: Path, graph: Graph1) -> bytes:
    """Return a graph's bytes after comparing them with their hash.

    Raises:
        FormatError: absent, no regular file, or of another hash.
    """
    data = files.read_regular(folder / graph.file, GRAPH_LIMIT)
    if files.sha256_bytes(data) != graph.sha256:
        raise FormatError(f"{folder / graph.file}: is not the file that the manifest names; run atd export again")
    return data


def read_facts(metadata: dict[str, str], where: str, version: int) -> GraphFacts:
    """Return what a graph of version 1 says about itself, as facts of format version `version`.

    Raises:
        FormatError: no facts, or facts of another version.
    """
    try:
        data = json.loads(metadata[KEY])
        if data["format_version"] != VERSION:
            raise ValueError(data["format_version"])
    except (ValueError, TypeError, KeyError, RecursionError):
        raise FormatError(f"{where}: holds no facts of version {VERSION}; run atd export again") from None
    facts: GraphFacts = records.parse(data | {"format_version": version}, GraphFacts, f"{where}: metadata '{KEY}'")
    return facts
