"""Verify a task that is added to a bundle against what torch answered when it was trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from adaptertune_deploy.core.adapter import heads
from adaptertune_deploy.core.adapter.folder import Adapter, read_config
from adaptertune_deploy.core.adapter.reference import KnownAnswers, known_answers
from adaptertune_deploy.core.answers.known_image import known_image, stored_answer
from adaptertune_deploy.core.answers.stored_answer import StoredAnswer
from adaptertune_deploy.core.bundle import folder as bundle
from adaptertune_deploy.core.bundle.manifest import GraphRecord, Manifest
from adaptertune_deploy.core.bundle.manifest_changes import Measured
from adaptertune_deploy.core.bundle.publish import Verify
from adaptertune_deploy.core.images.preprocess import normalised
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.engines.bank.bank import SlotBank
from adaptertune_deploy.engines.engine import Engine
from adaptertune_deploy.engines.options import EngineOptions
from adaptertune_deploy.engines.table import lacks
from adaptertune_deploy.engines.verification.parity import verify_merged, verify_shared, with_graph


def verification(
    folder: Path, source: Path, ship: str | None, options: EngineOptions | None
) -> tuple[Verify | None, str]:
    """Return what verifies a task that is added, or None and why nothing does.

    Args:
        folder: the bundle.
        source: the folder adapters/<task>/.
        ship: the candidate; see core.bundle.publish.add_task.
        options: what to verify on; None where no engine is here.

    Raises:
        FormatError: the adapter's config, or torch's answers in its folder, are damaged.
        UsageError: a candidate that the task lacks.
    """
    config = read_config(source)
    config.shipped(ship)
    if not config.reference_sha256:
        return None, f"{source} holds none of torch's answers, it was trained by an older release"
    if options is None:
        return None, "ONNX Runtime is not installed here; pip install 'adaptertune-deploy[cpu]' or choose --engine"
    known = known_answers(source, config, ship)
    if known is None:
        return None, "none of the images that training held back is on this machine"
    return verifier(folder, known, options), ""


def verifier(folder: Path, known: KnownAnswers, options: EngineOptions) -> Verify:
    """Return what core.bundle.publish.add_task measures a task's graphs with.

    It measures nothing of a graph that the engine does not run.

    Args:
        folder: the bundle.
        known: torch's answers.
        options: what to verify on; see engines.verification.parity.with_graph.
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
        return with_graph(data, graph, facts, str(folder / graph.file), options, measure)

    return verify


def _answer(engine: Engine, manifest: Manifest, adapter: Adapter) -> StoredAnswer:
    """Return what a task answers about the known image on an engine that was just found to answer as torch does."""
    held = SlotBank(engine, manifest.slots, manifest.backbone.width, manifest.backbone.features)
    image = normalised(known_image(manifest.preprocess.size), manifest.preprocess)[None]
    first = np.zeros(1, dtype=np.int64)
    features = held.features(image, first, [held.write(adapter)])
    (logits,) = heads.apply([heads.head_of(adapter)], features, first)
    return stored_answer(adapter.task.name, logits)
