"""Verify a task that is added to a bundle against what torch answered when it was trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from adaptertune_deploy.core.adapter import heads
from adaptertune_deploy.core.adapter.folder import Adapter, read_config
from adaptertune_deploy.core.adapter.reference import KnownAnswers, known_answers
from adaptertune_deploy.core.answers.known_image import known_image, stored_answer
from adaptertune_deploy.core.answers.stored_answer import StoredAnswer
from adaptertune_deploy.core.bundle import folder as bundle
from adaptertune_deploy.core.bundle.manifest import SHARED, GraphRecord, Manifest, ParityRecord, select_graph
from adaptertune_deploy.core.bundle.manifest_changes import Measured
from adaptertune_deploy.core.bundle.publish import Verify
from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.core.images.preprocess import normalised
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.engines.bank.bank import SlotBank
from adaptertune_deploy.engines.engine import Engine
from adaptertune_deploy.engines.options import EngineOptions
from adaptertune_deploy.engines.table import graph_precision, lacks
from adaptertune_deploy.engines.verification.parity import verify_merged, verify_shared, with_graph


@dataclass(frozen=True)
class Verification:
    """What verifies a task that is added.

    measure: what core.bundle.publish.add_task measures the task's graphs with; None where nothing does.
    reason: why nothing does; "" where something does.
    parity: what it has measured; the bundle may hold more, of other engines.
    """

    measure: Verify | None
    reason: str = ""
    parity: list[ParityRecord] = field(default_factory=list)


def verification(folder: Path, source: Path, ship: str | None, options: EngineOptions | None) -> Verification:
    """Return what verifies a task that is added.

    Args:
        folder: the bundle.
        source: the folder adapters/<task>/.
        ship: the candidate; see core.bundle.publish.add_task.
        options: what to verify on; None where no engine is here.

    Raises:
        FormatError: the adapter's config, or torch's answers in its folder, are damaged.
        UsageError: a candidate that the task lacks, or a precision below fp32 that the engine or the bundle lacks.
    """
    config = read_config(source)
    config.shipped(ship)
    if options is not None and options.precision is not Precision.FP32:
        _check_precision(folder, options)
    if not config.reference_sha256:
        return Verification(None, f"{source} holds none of torch's answers, it was trained by an older release")
    if options is None:
        reason = "ONNX Runtime is not installed here; pip install 'adaptertune-deploy[cpu]' or choose --engine"
        return Verification(None, reason)
    known = known_answers(source, config, ship)
    if known is None:
        return Verification(None, "none of the images that training held back is on this machine")
    found: list[ParityRecord] = []
    return Verification(verifier(folder, known, options, found.append), "", found)


def _check_precision(folder: Path, options: EngineOptions) -> None:
    """Refuse a precision that was named and can't be verified: it would pass for one that was."""
    graph = graph_precision(options)
    select_graph(bundle.read_manifest(folder), SHARED, graph)
    if reason := lacks(options, graph):
        raise UsageError(f"--precision {options.precision}: {reason}; choose another --engine or --precision")


def verifier(
    folder: Path,
    known: KnownAnswers,
    options: EngineOptions,
    keep: Callable[[ParityRecord], None] = lambda entry: None,
) -> Verify:
    """Return what core.bundle.publish.add_task measures a task's graphs with.

    It measures nothing of a graph that the engine does not run.

    Args:
        folder: the bundle.
        known: torch's answers.
        options: what to verify on; see engines.verification.parity.with_graph.
        keep: called with what was measured of each graph.
    """

    def verify(manifest: Manifest, graph: GraphRecord, data: bytes, adapter: Adapter) -> Measured | None:
        if lacks(options, graph.precision):
            return None

        def measure(engine: Engine) -> Measured:
            if graph.task is not None:
                return Measured(verify_merged(engine, graph, known.logits, known.images))
            slots, width = manifest.slots, manifest.backbone.width
            (entry,) = verify_shared(engine, graph, [adapter], slots, width, [known.logits], known.images)
            return Measured(entry, _answer(engine, manifest, adapter) if engine.precision is Precision.FP32 else None)

        facts = bundle.facts_of(manifest, graph.task)
        found = with_graph(data, graph, facts, str(folder / graph.file), options, measure)
        keep(found.parity)
        return found

    return verify


def _answer(engine: Engine, manifest: Manifest, adapter: Adapter) -> StoredAnswer:
    """Return what a task answers about the known image on an engine that was just found to answer as torch does."""
    held = SlotBank(engine, manifest.slots, manifest.backbone.width, manifest.backbone.features)
    image = normalised(known_image(manifest.preprocess.size), manifest.preprocess)[None]
    first = np.zeros(1, dtype=np.int64)
    features = held.features(image, first, [held.write(adapter)])
    (logits,) = heads.apply([heads.head_of(adapter)], features, first)
    return stored_answer(adapter.task.name, logits)
