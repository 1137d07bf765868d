"""What people want to know of the tasks that are served: accuracy, size, images to try. No answer depends on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from adaptertune_deploy.core.adapter import folder as adapters
from adaptertune_deploy.core.adapter import samples
from adaptertune_deploy.core.answers.accuracy import AccuracyRecord
from adaptertune_deploy.core.bundle import folder as bundle
from adaptertune_deploy.core.bundle.manifest import SHARED, Manifest, TaskRecord, find_graph
from adaptertune_deploy.core.errors import FormatError
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.core.spec import BackboneSpec

MOST_SAMPLES = 4
LARGEST_SAMPLE = 1_000_000  # bytes
# What browsers show, and what its suffix says of it.
MEDIA_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".bmp": "image/bmp",
}


@dataclass(frozen=True)
class Sample:
    """An image to try, whose terms let it be handed on.

    data: the file's bytes, of the type `media_type`.
    label: its true class.
    sha256: of the bytes.
    """

    data: bytes
    media_type: str
    label: str
    sha256: str


@dataclass(frozen=True)
class AboutTask:
    """One task.

    bytes: size of its tensor file.
    accuracy: what training measured of it; None where nobody recorded that.
    digests: SHA-256 of each file of which a server may have loaded it: its tensors, its merged graphs.
    samples: at most MOST_SAMPLES.
    """

    bytes: int
    accuracy: AccuracyRecord | None
    digests: frozenset[str]
    samples: tuple[Sample, ...] = ()


@dataclass(frozen=True)
class About:
    """A bundle.

    backbone: None where nothing is known.
    graph_bytes: size of the shared graph that answers; None for merged graphs.
    tasks: name -> what is known of it.
    """

    backbone: BackboneSpec | None = None
    graph_bytes: int | None = None
    tasks: Mapping[str, AboutTask] = field(default_factory=dict)


NOTHING = About()


def read_about(folder: Path, form: str, precision: Precision, trained: Path) -> About:
    """Read what there is to know of a bundle's tasks.

    Args:
        folder: the bundle.
        form: in which it is served, "shared" or "merged".
        precision: of the graphs that answer.
        trained: the folder adapters/, in which the tasks' own folders lie where this machine has them; images that may
            be handed on lie there and nowhere else.

    Raises:
        FormatError: no bundle there, or a damaged manifest.
    """
    manifest = bundle.read_manifest(folder)
    graph = find_graph(manifest, SHARED, precision) if form == SHARED else None
    tasks = {record.task.name: _about(folder, manifest, record, trained) for record in manifest.tasks}
    return About(manifest.backbone, graph.bytes if graph else None, tasks)


def _about(folder: Path, manifest: Manifest, record: TaskRecord, trained: Path) -> AboutTask:
    try:
        size = (folder / record.file).stat().st_size
    except OSError:
        size = 0  # a server that must have it says so
    merged = (graph.sha256 for graph in manifest.graphs if graph.task == record.task.name)
    shown = _samples(trained / record.task.name, manifest, record)
    return AboutTask(size, record.accuracy, frozenset({record.sha256, *merged}), shown)


def _samples(folder: Path, manifest: Manifest, record: TaskRecord) -> tuple[Sample, ...]:
    """Return images of an adapter folder that holds this very task: another one's labels would be wrong."""
    try:
        config = adapters.read_config(folder)
    except FormatError:
        return ()
    if config.task.labels != record.task.labels or config.backbone != manifest.backbone:
        return ()
    shown = [sample for sample in config.samples if PurePath(sample.file).suffix.lower() in MEDIA_TYPES]
    # Of different classes first: ordered by how often a class came before.
    seen: dict[str, int] = {}
    ranked = []
    for sample in shown:
        ranked.append((seen.get(sample.label, 0), sample))
        seen[sample.label] = seen.get(sample.label, 0) + 1
    ranked.sort(key=lambda entry: entry[0])
    found = samples.travelling(folder, [sample for _, sample in ranked], MOST_SAMPLES, LARGEST_SAMPLE)
    return tuple(
        Sample(data, MEDIA_TYPES[PurePath(sample.file).suffix.lower()], sample.label, sample.sha256)
        for sample, data in found
    )
