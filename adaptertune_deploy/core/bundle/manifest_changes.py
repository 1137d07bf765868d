"""Manifests made of others: with a task, with what was measured of one, without one."""

from __future__ import annotations

from dataclasses import dataclass, replace

from adaptertune_deploy.core.answers.stored_answer import StoredAnswer
from adaptertune_deploy.core.bundle.manifest import Manifest, ParityRecord, TaskRecord


@dataclass(frozen=True)
class Measured:
    """What was found of a task on a graph: how far it is from torch, and perhaps its answer about the known image."""

    parity: ParityRecord
    answer: StoredAnswer | None = None


def with_task(manifest: Manifest, record: TaskRecord) -> Manifest:
    """Return a manifest with a task in it, without what was made and measured of another one of its name."""
    name = record.task.name
    old = next((held for held in manifest.tasks if held.task.name == name), None)
    if old == record:
        return manifest
    tasks = tuple(record if held is old else held for held in manifest.tasks)
    return replace(without(manifest, name), tasks=tasks if old is not None else (*tasks, record))


def with_measured(manifest: Manifest, found: Measured) -> Manifest:
    """Return a manifest with what was found, in place of an older measurement of the same; an older answer stays."""
    kept = tuple(held for held in manifest.parity if held.measured != found.parity.measured)
    known = {answer.task for answer in manifest.answers}
    more = () if found.answer is None or found.answer.task in known else (found.answer,)
    return replace(manifest, parity=(*kept, found.parity), answers=(*manifest.answers, *more))


def without(manifest: Manifest, task: str) -> Manifest:
    """Return a manifest without what was made and measured of a task: its graphs, parity and stored answer."""
    return replace(
        manifest,
        graphs=tuple(graph for graph in manifest.graphs if graph.task != task),
        parity=tuple(entry for entry in manifest.parity if entry.task != task),
        answers=tuple(answer for answer in manifest.answers if answer.task != task),
    )
