"""Verify a task that is added to a bundle against what torch answered when it was trained."""

from __future__ import annotations

from pathlib import Path

from adaptertune_deploy.core import bundle
from adaptertune_deploy.core.adapter import Adapter
from adaptertune_deploy.core.manifest import GraphRecord, Manifest, ParityRecord
from adaptertune_deploy.core.publish import Verify
from adaptertune_deploy.core.reference import KnownAnswers
from adaptertune_deploy.engines.engine import Engine, lacks
from adaptertune_deploy.engines.options import EngineOptions
from adaptertune_deploy.engines.parity import verify_merged, verify_shared, with_graph


def verifier(folder: Path, known: KnownAnswers, options: EngineOptions) -> Verify:
    """Return what core.publish.add_task measures a task's graphs with; nothing of a graph that the engine does not run.

    Args:
        folder: the bundle.
        known: torch's answers.
        options: what to verify on; see engines.parity.with_graph.
    """

    def verify(manifest: Manifest, graph: GraphRecord, data: bytes, adapter: Adapter) -> ParityRecord | None:
        if lacks(options, graph.precision):
            return None

        def measure(engine: Engine) -> ParityRecord:
            if graph.task is not None:
                return verify_merged(engine, graph, known.logits, known.images)
            slots, width = manifest.slots, manifest.backbone.width
            (entry,) = verify_shared(engine, graph, [adapter], slots, width, [known.logits], known.images)
            return entry

        facts = bundle.facts_of(manifest, graph.task)
        return with_graph(data, graph, facts, str(folder / graph.file), options, measure)

    return verify
