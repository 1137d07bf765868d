"""Trained tasks -> a bundle: read, check, trace, verify, and only then put it in place."""

from __future__ import annotations

import contextlib
import importlib.metadata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from adaptertune_deploy import __version__
from adaptertune_deploy.core import adapter as artefact
from adaptertune_deploy.core import bundle, files
from adaptertune_deploy.core.adapter import Adapter, AdapterConfig
from adaptertune_deploy.core.bundle import GraphRecord, Manifest, ParityReport
from adaptertune_deploy.core.errors import ExportError, FormatError, UsageError
from adaptertune_deploy.core.progress import Progress, silent
from adaptertune_deploy.core.tensors import Array
from adaptertune_deploy.engines.engine import open_engine
from adaptertune_deploy.export.graph import IR_VERSION, OPSET
from adaptertune_deploy.export.images import find_images, read_images
from adaptertune_deploy.export.merged import export_merged
from adaptertune_deploy.export.shared import export_shared
from adaptertune_deploy.export.verify import torch_logits, verify_merged, verify_shared
from adaptertune_deploy.model.backbone import Backbone, load_backbone

PRECISION = "fp32"
LIBRARIES = ("torch", "timm", "onnx", "onnxscript", "onnxruntime", "onnxruntime-gpu")


@dataclass(frozen=True)
class Source:
    """One trained task: its folder and what was read from it."""

    folder: Path
    config: AdapterConfig
    adapter: Adapter


@dataclass(frozen=True)
class Work:
    """What every step of one export needs.

    slots: blocks after which any of the tasks adapts.
    images: float32 [N, 3, H, W], preprocessed.
    """

    sources: tuple[Source, ...]
    backbone: Backbone
    slots: tuple[int, ...]
    images: Array
    provider: str


def export_bundle(
    adapters: Sequence[Path],
    out: Path,
    *,
    merge: bool = False,
    shared: bool = True,
    weights: Path | None = None,
    images: Path | None = None,
    provider: str = "cpu",
    allow_random: bool = False,
    progress: Progress = silent,
) -> Manifest:
    """Export trained tasks into a bundle, verified against torch on real images.

    Nothing at `out` changes before every graph has passed.

    Args:
        adapters: folders adapters/<task>/, all trained on one backbone.
        out: the bundle's folder; an older bundle there is replaced.
        merge: also write one self-contained graph per task.
        shared: write the shared graph.
        weights: the backbone's weights file; see model.backbone.load_backbone.
        images: a folder of images to verify on; None takes those that training kept in <adapter>/samples/.
        provider: engine provider to verify on: "cpu", "cuda" or "auto".
        allow_random: whether a backbone with random weights may be used.
        progress: told about torch's answers, the shared graph and the merged graphs.

    Raises:
        UsageError: nothing to export, or neither form asked for.
        FormatError: a damaged adapter, or tasks of different backbones or preprocessing.
        BackboneError: the backbone can't be loaded, or is another than the adapters were trained on.
        ExportError: no images, `out` is something else than a bundle, or the backbone can't be traced.
        ParityError: a graph differs from torch.
        EngineError: the engine or provider is absent.
    """
    if not (merge or shared):
        raise UsageError("neither form was asked for; leave out --no-shared or add --merge")
    check_replaceable(out)
    sources = read_sources(adapters)
    first = sources[0].config
    pictures = read_images(find_images(adapters, images), first.preprocess)
    backbone = load_backbone(first.backbone.name, weights, sha256=first.backbone.sha256, allow_random=allow_random)
    for source in sources:
        bundle.check_same_model(source.config, backbone.spec, first.preprocess, "the loaded backbone")
    slots = sorted({block for source in sources for block in source.adapter.task.adapter.blocks})
    work = Work(sources, backbone, tuple(slots), pictures, provider)
    with files.staged_directory(out) as stage:
        return _write(stage, work, merge, shared, progress)


def check_replaceable(out: Path) -> None:
    """Raise ExportError when `out` holds anything but a bundle, which an export would delete."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    try:
        bundle.read_manifest(out)
    except FormatError:
        raise ExportError(
            f"{out}: holds something else than a bundle of this release, and export replaces the whole folder; "
            "remove it or choose another --out"
        ) from None


def read_sources(folders: Sequence[Path]) -> tuple[Source, ...]:
    """Read adapter folders and check that one backbone graph can serve them all.

    Raises:
        UsageError: no folder at all.
        FormatError: a damaged adapter, two tasks of one name, or one of another backbone or preprocessing than most.
    """
    if not folders:
        raise UsageError("no adapter to export; train one first: atd train --dataset pets")
    sources = tuple(Source(folder, *artefact.read_adapter(folder)) for folder in folders)
    names = Counter(source.config.task.name for source in sources)
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        holders = ", ".join(str(source.folder) for source in sources if source.config.task.name == twice[0])
        raise UsageError(f"task '{twice[0]}' is in {holders}; export one of them")
    models = Counter((source.config.backbone, source.config.preprocess) for source in sources)
    model = models.most_common(1)[0][0]
    usual = next(s.config.task.name for s in sources if (s.config.backbone, s.config.preprocess) == model)
    for source in sources:
        bundle.check_same_model(source.config, *model, f"task '{usual}'")
    return sources


def _write(stage: Path, work: Work, merge: bool, shared: bool, progress: Progress) -> Manifest:
    """Write every file of the bundle below `stage`, the manifest last."""
    expected = _expected(work, progress)
    records = [bundle.write_task(stage, source.folder, source.config) for source in work.sources]
    graph = None
    if shared:
        graph, reports = _write_shared(stage, work, expected, progress)
        records = [replace(record, shared_parity=report) for record, report in zip(records, reports, strict=True)]
    if merge:
        for place, source in enumerate(work.sources):
            progress("merged graphs", place, len(records))
            merged, report = _write_merged(stage, work, source, expected[place])
            records[place] = replace(records[place], merged=merged, merged_parity=report)
        progress("merged graphs", len(records), len(records))
    manifest = Manifest(
        format_version=bundle.FORMAT_VERSION,
        backbone=work.backbone.spec,
        preprocess=work.sources[0].config.preprocess,
        slots=work.slots,
        tasks=tuple(records),
        shared=graph,
        versions=_versions(),
    )
    bundle.write_manifest(stage, manifest)
    return manifest


def _expected(work: Work, progress: Progress) -> list[Array]:
    """Return torch's logits [N, C] for each task."""
    answers: list[Array] = []
    for source in work.sources:
        progress("torch's answers", len(answers), len(work.sources))
        answers.append(torch_logits(work.backbone, source.adapter, work.images))
    progress("torch's answers", len(answers), len(answers))
    return answers


def _write_shared(
    stage: Path, work: Work, expected: Sequence[Array], progress: Progress
) -> tuple[GraphRecord, tuple[ParityReport, ...]]:
    progress("shared graph", 0, 2)
    record = _write_graph(stage, bundle.BACKBONE_NAME, export_shared(work.backbone, work.slots))
    progress("shared graph", 1, 2)
    adapters = [source.adapter for source in work.sources]
    with contextlib.closing(open_engine(stage / record.file, provider=work.provider)) as engine:
        reports = verify_shared(engine, adapters, work.slots, expected, work.images)
    progress("shared graph", 2, 2)
    return record, reports


def _write_merged(stage: Path, work: Work, source: Source, expected: Array) -> tuple[GraphRecord, ParityReport]:
    name = source.config.task.name
    record = _write_graph(stage, bundle.merged_file(name), export_merged(work.backbone, source.adapter))
    with contextlib.closing(open_engine(stage / record.file, provider=work.provider)) as engine:
        return record, verify_merged(engine, expected, work.images, f"the merged graph of '{name}'")


def _write_graph(stage: Path, file: str, data: bytes) -> GraphRecord:
    files.write_bytes(stage / file, data)
    return GraphRecord(file, files.sha256_bytes(data), PRECISION, OPSET, IR_VERSION)


def _versions() -> dict[str, str]:
    found = {"adaptertune-deploy": __version__}
    for library in LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[library] = importlib.metadata.version(library)
    return found
