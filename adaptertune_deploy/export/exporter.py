"""Trained tasks -> a bundle: plan, trace once, merge, verify, and only then publish."""

from __future__ import annotations

import contextlib
import importlib.metadata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from adaptertune_deploy import __version__
from adaptertune_deploy.core.answers.known_image import stored_answer
from adaptertune_deploy.core.bundle import folder as bundle
from adaptertune_deploy.core.bundle import publish
from adaptertune_deploy.core.bundle.manifest import FORMAT_VERSION, MERGED, SHARED, GraphRecord, Manifest, ParityRecord
from adaptertune_deploy.core.bundle.publish import Tell, Writer
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.core.progress import Progress, silent
from adaptertune_deploy.core.storage import files
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.engines.engine import Engine
from adaptertune_deploy.engines.table import lacks
from adaptertune_deploy.engines.verification.contract import input_types
from adaptertune_deploy.engines.verification.parity import BATCHES, verify_merged, verify_shared, with_graph
from adaptertune_deploy.export import explain as explaining
from adaptertune_deploy.export import plan as plans
from adaptertune_deploy.export.calibration import check_photographs
from adaptertune_deploy.export.images import read_images
from adaptertune_deploy.export.merge import merged_graph
from adaptertune_deploy.export.onnx_file import IR_VERSION, OPSET
from adaptertune_deploy.export.pace import paces
from adaptertune_deploy.export.plan import Plan
from adaptertune_deploy.export.precision.ranges import NONE, Ranges, measure
from adaptertune_deploy.export.precision.table import graph_in, is_calibrated
from adaptertune_deploy.export.torch_answers import TorchAnswers, ask_torch

LIBRARIES = ("torch", "timm", "onnx", "onnxscript", "onnxruntime", "onnxruntime-gpu", "openvino")
# Images that a merged graph is asked about where the shared graph, with the same nodes and the same tensors of the same
# tasks, was asked about more: every number of a task's tensors is part of every one of its answers.
FEW = 2
Measure = Callable[[Engine, GraphRecord], tuple[ParityRecord, ...]]


@dataclass(frozen=True)
class Work:
    """What every step of writing needs.

    images: float32 [N, 3, H, W], preprocessed.
    writer: of the bundle.
    """

    plan: Plan
    torch: TorchAnswers
    images: Array
    writer: Writer
    progress: Progress
    tell: Tell


@dataclass(frozen=True, eq=False)
class Made:
    """A graph before it is written.

    task: whose merged graph it is; None for the shared one.
    source: SHA-256 of the graph that it was made out of; None for the traced one.
    """

    form: str
    precision: Precision
    task: str | None
    data: bytes
    source: str | None = None


def export_bundle(
    plan: Plan,
    *,
    weights: Path | None = None,
    allow_random: bool = False,
    progress: Progress = silent,
    tell: Tell = publish.silent,
) -> Manifest:
    """Export trained tasks into a bundle, verified against torch on real images.

    The bundle changes only when every graph has passed; nobody else writes it meanwhile.

    Args:
        plan: what to export, and on what to verify it; see plan.plan_export.
        weights: the backbone's weights file; see model.backbone.load_backbone.
        allow_random: whether a backbone with random weights may be used.
        progress: told about torch's answers, calibration, the shared graph and the merged graphs.
        tell: called with what a person should know: what is replaced, and what a killed run had left behind.

    Raises:
        UsageError: another writer made a bundle meanwhile that this export would cost something.
        BackboneError: the backbone can't be loaded, or is another than the adapters were trained on.
        ExportError: the backbone can't be traced, or images to calibrate on are no photographs.
        EngineError: the engine failed.
        ParityError: a graph differs from torch.
    """
    pictures = read_images(plan.images, plan.sources[0].config.preprocess)
    answers = ask_torch(plan, pictures, weights, allow_random, progress)
    with publish.writing(plan.out, tell) as writer:
        plan.check_dropped(writer.old)
        replaced = plans.replaced(plan, writer.old)
        manifest = _write(Work(plan, answers, pictures, writer, progress, tell))
        writer.publish(manifest)
    if replaced:
        tell(f"replaced {'tasks' if len(replaced) > 1 else 'task'} {', '.join(replaced)} of {plan.out}/")
    return manifest


def _write(work: Work) -> Manifest:
    """Write every file that the new manifest names, and return it."""
    sources, traced = work.plan.sources, work.torch.traced
    manifest = Manifest(
        format_version=FORMAT_VERSION,
        backbone=work.torch.spec,
        preprocess=sources[0].config.preprocess,
        slots=work.plan.slots,
        tasks=tuple(work.writer.write_task(source.adapter, source.config) for source in sources),
        versions=_versions(),
        answers=tuple(
            stored_answer(source.adapter.task.name, logits)
            for source, logits in zip(sources, work.torch.known, strict=True)
        ),
    )
    work.progress("shared graph", 1, 2)
    ranges = _ranges(work)
    for precision in work.plan.precisions:
        data = graph_in(traced, precision, ranges, manifest.backbone.name)
        source = None if data is traced else files.sha256_bytes(traced)
        made = Made(SHARED, precision, None, data, source)
        if work.plan.explain and data is not traced:
            work.tell(_explanation(work, made))
        if work.plan.shared:
            manifest = _with_shared(work, manifest, made)
        work.progress(_words("shared graph", precision), 2, 2)
        if work.plan.merge:
            manifest = _with_merged(work, manifest, made)
    for pace in paces(work.plan.out, manifest, sources[0].adapter, work.images[:1], work.plan.engine):
        work.tell(pace.words)
    return manifest


def _explanation(work: Work, made: Made) -> str:
    options, adapters = work.plan.engine, [source.adapter for source in work.plan.sources]
    if reason := lacks(options, made.precision):
        return f"{made.precision}: not explained: {reason}"
    traced, slots = work.torch.traced, work.plan.slots
    return explaining.explain(traced, made.data, made.precision, adapters, slots, work.images, options).words


def _words(what: str, precision: Precision) -> str:
    return what if precision is Precision.FP32 else f"{what} in {precision}"


def _ranges(work: Work) -> Ranges:
    """Return how far the traced graph's values reach on the calibration images, where a precision asks for it."""
    calibration, sources = work.plan.calibration, work.plan.sources
    if calibration is None:
        return NONE
    images = read_images(calibration.paths, sources[0].config.preprocess, "calibrate on")
    check_photographs(images)
    adapters, width = [source.adapter for source in sources], work.torch.spec.width
    return measure(work.torch.traced, adapters, work.plan.slots, width, images, calibration.tasks, work.progress)


def _with_shared(work: Work, manifest: Manifest, made: Made) -> Manifest:
    adapters = [source.adapter for source in work.plan.sources]

    def measure(engine: Engine, graph: GraphRecord) -> tuple[ParityRecord, ...]:
        width = manifest.backbone.width
        return verify_shared(engine, graph, adapters, manifest.slots, width, work.torch.expected, work.images)

    return _with_graph(work, manifest, made, measure)


def _with_merged(work: Work, manifest: Manifest, shared: Made) -> Manifest:
    """Write the merged graphs; the first runs at more batch sizes, the others differ from it in their constants."""
    source_sha256 = files.sha256_bytes(shared.data)
    first = BATCHES[:3] if work.plan.shared else BATCHES  # the shared graph has run these nodes at the largest size
    sources, words = work.plan.sources, _words("merged graphs", shared.precision)
    for place, source in enumerate(sources):
        work.progress(words, place, len(sources))
        expected = work.torch.expected[place]
        asked = np.flatnonzero(np.isfinite(expected).all(axis=1))
        if place and work.plan.shared:
            asked = asked[:FEW]
        measure = partial(
            _measure_merged,
            expected=expected[asked],
            images=work.images[asked],
            batches=(FEW,) if place else first,
        )
        data = merged_graph(shared.data, source.adapter, bundle.merged_facts(manifest, manifest.tasks[place]))
        made = Made(MERGED, shared.precision, source.adapter.task.name, data, source_sha256)
        manifest = _with_graph(work, manifest, made, measure)
        del data, made  # or the next one would be made while this one is still held
    work.progress(words, len(sources), len(sources))
    return manifest


def _measure_merged(
    engine: Engine, graph: GraphRecord, expected: Array, images: Array, batches: Sequence[int]
) -> tuple[ParityRecord, ...]:
    return (verify_merged(engine, graph, expected, images, batches),)


def _with_graph(work: Work, manifest: Manifest, made: Made, measure: Measure) -> Manifest:
    """Write a graph, open it as a server would, measure it, and return the manifest with it.

    Nobody reads the file before the manifest is published, which a graph that differs prevents.
    """
    facts, calibration = bundle.facts_of(manifest, made.task), work.plan.calibration
    graph = bundle.record_graph(
        made.data,
        made.form,
        input_types(facts, made.precision),
        opset=OPSET,
        ir_version=IR_VERSION,
        task=made.task,
        precision=made.precision,
        source=made.source,
        calibration=calibration.words if calibration is not None and is_calibrated(made.precision) else None,
    )
    work.writer.write(graph.file, made.data)
    where = str(work.plan.out / graph.file)
    entries: tuple[ParityRecord, ...] = ()
    reason = lacks(work.plan.engine, made.precision)
    if reason is None:
        entries = with_graph(made.data, graph, facts, where, work.plan.engine, lambda engine: measure(engine, graph))
    else:
        work.tell(f"{graph.words} is valid ONNX, and was not measured here: {reason}; choose another --engine for that")
    return replace(manifest, graphs=(*manifest.graphs, graph), parity=(*manifest.parity, *entries))


def _versions() -> dict[str, str]:
    found = {"adaptertune-deploy": __version__}
    for library in LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[library] = importlib.metadata.version(library)
    return found
