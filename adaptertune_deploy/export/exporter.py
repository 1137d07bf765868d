"""Trained tasks -> a bundle: plan, trace once, merge, verify, and only then publish."""

from __future__ import annotations

import contextlib
import importlib.metadata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from adaptertune_deploy import __version__
from adaptertune_deploy.core import bundle, files, publish
from adaptertune_deploy.core.bundle import GraphRecord, Manifest
from adaptertune_deploy.core.graph_facts import GraphFacts
from adaptertune_deploy.core.progress import Progress, silent
from adaptertune_deploy.core.publish import Tell, Writer
from adaptertune_deploy.core.tensors import Array
from adaptertune_deploy.engines.contract import check_contract
from adaptertune_deploy.engines.engine import Engine, open_engine
from adaptertune_deploy.export import plan as plans
from adaptertune_deploy.export.images import read_images
from adaptertune_deploy.export.merge import merged_graph
from adaptertune_deploy.export.onnx_file import IR_VERSION, OPSET
from adaptertune_deploy.export.plan import Plan, plan_export
from adaptertune_deploy.export.shared import export_shared
from adaptertune_deploy.export.verify import torch_logits, verify_merged, verify_shared
from adaptertune_deploy.model.backbone import Backbone, load_backbone

PRECISION = "fp32"
LIBRARIES = ("torch", "timm", "onnx", "onnxscript", "onnxruntime", "onnxruntime-gpu")
Reports = TypeVar("Reports")


@dataclass(frozen=True)
class Work:
    """What every step of one export needs.

    images: float32 [N, 3, H, W], preprocessed.
    writer: of the bundle.
    """

    plan: Plan
    backbone: Backbone
    images: Array
    writer: Writer
    progress: Progress


def export_bundle(
    adapters: Sequence[Path],
    out: Path,
    *,
    merge: bool = False,
    shared: bool = True,
    weights: Path | None = None,
    images: Path | None = None,
    provider: str = "cpu",
    replace: bool = False,
    ship: str | None = None,
    allow_random: bool = False,
    progress: Progress = silent,
    tell: Tell = publish.silent,
) -> Manifest:
    """Export trained tasks into a bundle, verified against torch on real images.

    The bundle changes only when every graph has passed; nobody else writes it meanwhile.

    Args:
        adapters: folders adapters/<task>/, all trained on one backbone.
        out: the bundle's folder.
        merge: also write one self-contained graph per task.
        shared: write the shared graph.
        weights: the backbone's weights file; see model.backbone.load_backbone.
        images: a folder of images to verify on; None takes those that training held back.
        provider: engine provider to verify on: "cpu", "cuda" or "auto".
        replace: whether tasks and graphs that stand at `out` may be dropped.
        ship: the candidate of every task, "adapter" or "head"; None takes the one that its training chose.
        allow_random: whether a backbone with random weights may be used.
        progress: told about torch's answers, the shared graph and the merged graphs.
        tell: called with what a person should know: what is replaced, and what a killed run had left behind.

    Raises:
        UsageError, FormatError, ExportError, EngineError: see plan.plan_export.
        BackboneError: the backbone can't be loaded, or is another than the adapters were trained on.
        ExportError: the backbone can't be traced.
        ParityError: a graph differs from torch.
    """
    plan = plan_export(
        adapters, out, merge=merge, shared=shared, images=images, provider=provider, replace=replace, ship=ship
    )
    first = plan.sources[0].config
    pictures = read_images(plan.images, first.preprocess)
    backbone = load_backbone(
        first.backbone.name,
        weights,
        image_size=first.backbone.image_size,
        sha256=first.backbone.sha256,
        allow_random=allow_random,
    )
    for source in plan.sources:
        bundle.check_same_model(source.config, backbone.spec, first.preprocess, "the loaded backbone")
    with publish.writing(out, tell) as writer:
        plan.check_dropped(writer.old)
        replaced = plans.replaced(plan, writer.old)
        manifest = _write(Work(plan, backbone, pictures, writer, progress))
        writer.publish(manifest)
    if replaced:
        tell(f"replaced {'tasks' if len(replaced) > 1 else 'task'} {', '.join(replaced)} of {out}/")
    return manifest


def _write(work: Work) -> Manifest:
    """Write every file that the new manifest names, and return it."""
    sources = work.plan.sources
    expected = _expected(work)
    manifest = Manifest(
        format_version=bundle.FORMAT_VERSION,
        backbone=work.backbone.spec,
        preprocess=sources[0].config.preprocess,
        slots=work.plan.slots,
        tasks=tuple(work.writer.write_task(source.adapter, source.config) for source in sources),
        versions=_versions(),
    )
    work.progress("shared graph", 0, 2)
    traced = export_shared(work.backbone, manifest.slots)  # merged graphs are made out of it too
    work.progress("shared graph", 1, 2)
    if work.plan.shared:
        manifest = _with_shared(work, manifest, expected, traced)
    work.progress("shared graph", 2, 2)
    if work.plan.merge:
        manifest = _with_merged(work, manifest, expected, traced)
    return manifest


def _expected(work: Work) -> list[Array]:
    """Return torch's logits [N, C] for each task."""
    answers: list[Array] = []
    for source in work.plan.sources:
        work.progress("torch's answers", len(answers), len(work.plan.sources))
        answers.append(torch_logits(work.backbone, source.adapter, work.images))
    work.progress("torch's answers", len(answers), len(answers))
    return answers


def _with_shared(work: Work, manifest: Manifest, expected: Sequence[Array], traced: bytes) -> Manifest:
    adapters = [source.adapter for source in work.plan.sources]
    graph, reports = _write_graph(
        work,
        traced,
        bundle.shared_file,
        bundle.shared_facts(manifest),
        partial(
            verify_shared,
            adapters=adapters,
            slots=manifest.slots,
            width=manifest.backbone.width,
            expected=expected,
            images=work.images,
        ),
    )
    pairs = zip(manifest.tasks, reports, strict=True)
    return replace(manifest, shared=graph, tasks=tuple(replace(task, shared_parity=report) for task, report in pairs))


def _with_merged(work: Work, manifest: Manifest, expected: Sequence[Array], traced: bytes) -> Manifest:
    tasks = list(manifest.tasks)
    for place, source in enumerate(work.plan.sources):
        work.progress("merged graphs", place, len(tasks))
        name = source.config.task.name
        facts = bundle.merged_facts(manifest, tasks[place])
        graph, report = _write_graph(
            work,
            merged_graph(traced, source.adapter, facts),
            partial(bundle.merged_file, name),
            facts,
            partial(verify_merged, expected=expected[place], images=work.images, what=f"the merged graph of '{name}'"),
        )
        tasks[place] = replace(tasks[place], merged=graph, merged_parity=report)
    work.progress("merged graphs", len(tasks), len(tasks))
    return replace(manifest, tasks=tuple(tasks))


def _write_graph(
    work: Work,
    data: bytes,
    name: Callable[[str], str],
    facts: GraphFacts,
    verify: Callable[[Engine], Reports],
) -> tuple[GraphRecord, Reports]:
    """Open a graph as a server would, verify it, and write it if it passes.

    Args:
        work: the export.
        data: the graph's bytes.
        name: hash -> the graph's file below the bundle.
        facts: what the graph must say about itself.
        verify: compares the opened graph with torch.
    """
    sha256 = files.sha256_bytes(data)
    record = GraphRecord(name(sha256), sha256, PRECISION, OPSET, IR_VERSION)
    where = str(work.plan.out / record.file)
    with contextlib.closing(open_engine(data, where, plans.ENGINE, work.plan.provider)) as engine:
        check_contract(engine, facts, where)
        reports = verify(engine)
    work.writer.write(record.file, data)
    return record, reports


def _versions() -> dict[str, str]:
    found = {"adaptertune-deploy": __version__}
    for library in LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[library] = importlib.metadata.version(library)
    return found
