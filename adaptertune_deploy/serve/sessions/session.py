"""A loaded bundle that answers rows: the Protocol, opening one from a folder, and warming it up."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from adaptertune_deploy.core import bundle
from adaptertune_deploy.core.errors import EngineError, UsageError, did_you_mean
from adaptertune_deploy.core.manifest import (
    MERGED,
    SHARED,
    GraphRecord,
    Manifest,
    TaskRecord,
    select_graph,
    select_tasks,
)
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.core.spec import PreprocessSpec, TaskSpec
from adaptertune_deploy.core.tensors import Array
from adaptertune_deploy.engines.contract import check_contract
from adaptertune_deploy.engines.engine import Engine, graph_precision, open_engine
from adaptertune_deploy.engines.engine_facts import EngineFacts
from adaptertune_deploy.engines.options import USUAL, EngineOptions
from adaptertune_deploy.serve.sessions.forms import FORMS
from adaptertune_deploy.serve.sessions.logits import check_finite
from adaptertune_deploy.serve.sessions.merged_session import MergedSession
from adaptertune_deploy.serve.sessions.shared_session import SharedSession


class Session(Protocol):
    """Tasks over one backbone, loaded and ready to run.

    Attributes:
        tasks: what it answers; a task's index is its place here.
        preprocess: how an image becomes its input.
        engine: what runs it.
        form: "shared" or "merged".
    """

    tasks: tuple[TaskSpec, ...]
    preprocess: PreprocessSpec
    engine: EngineFacts
    form: str

    def run(self, images: Array, image: npt.NDArray[np.int64], task: npt.NDArray[np.int64]) -> list[Array]:
        """Answer B rows about N images.

        Args:
            images: float32 [N, 3, H, W], preprocessed.
            image: int64 [B], which image each row asks about.
            task: int64 [B], which task each row asks for.

        Returns:
            B arrays, float32 [classes of the row's task].

        Raises:
            EngineError: a row names no image or task of these, or the engine failed or gave logits of another shape.
        """

    def features(self, images: Array, image: npt.NDArray[np.int64], task: npt.NDArray[np.int64]) -> Array:
        """Return what `run` gives to the heads, float32 [B, F].

        For a task that is a head only these are the backbone's own features.

        Args:
            images: see run.
            image: see run.
            task: see run.

        Raises:
            UsageError: the form is "merged", whose graphs give logits only.
            EngineError: see run.
        """

    def close(self) -> None:
        """Release what the session holds."""


def open_session(
    folder: Path,
    tasks: list[str] | None = None,
    form: str = "auto",
    options: EngineOptions = USUAL,
) -> Session:
    """Open a bundle's tasks for answering.

    Args:
        folder: the bundle.
        tasks: which tasks, in this order; None for all of them.
        form: "shared", "merged", or "auto" for the shared form when the bundle holds it.
        options: what is asked of the engine; its precision decides which graphs are taken
            (engines.engine.graph_precision).

    Every file is read once, compared with its hash, and what was read is what runs. A graph must say and take what
    the manifest says of it (engines.contract), so that nothing answers under another task's name or labels.

    Raises:
        UsageError: an unknown task, form, engine, device or setting, or a form or precision that the bundle does not
            hold.
        FormatError: a damaged bundle, or a graph that is not what the manifest says.
        EngineError: the engine refuses a graph, or is not what was asked for.
    """
    if form not in FORMS:
        raise UsageError(f"no form '{form}', only {', '.join(FORMS)}.{did_you_mean(form, FORMS)}")
    manifest = bundle.read_manifest(folder)
    records = select_tasks(manifest, tasks)
    if not records:
        raise UsageError(f"{folder}: holds no task to serve; export one with: atd export")
    opener, precision = Opener(folder, manifest, options), graph_precision(options)
    if form == MERGED or (form == "auto" and _only_merged(manifest, precision)):
        graphs = [select_graph(manifest, MERGED, precision, record.task.name) for record in records]
        return _open_merged(opener, graphs, records)
    return _open_shared(opener, select_graph(manifest, SHARED, precision), records)


def _only_merged(manifest: Manifest, precision: Precision) -> bool:
    """Return whether a bundle holds graphs of this precision, and no shared one among them."""
    forms = {graph.form for graph in manifest.graphs if graph.precision is precision}
    return forms == {MERGED}


@dataclass(frozen=True)
class Opener:
    """Opens a bundle's graphs on one engine; see open_session."""

    folder: Path
    manifest: Manifest
    options: EngineOptions

    def open(self, graph: GraphRecord, undo: ExitStack) -> Engine:
        """Open a graph that must be what the manifest says of it; `undo` closes it."""
        where = str(self.folder / graph.file)
        opened = open_engine(bundle.read_graph(self.folder, graph), where, self.options)
        undo.callback(opened.close)
        check_contract(opened, bundle.facts_of(self.manifest, graph.task), where, graph.inputs)
        return opened


def _open_shared(opener: Opener, graph: GraphRecord, records: tuple[TaskRecord, ...]) -> Session:
    manifest = opener.manifest
    adapters = (bundle.read_task(opener.folder, manifest, record) for record in records)
    ranks = [record.task.adapter.rank for record in records]
    with ExitStack() as undo:
        opened = opener.open(graph, undo)
        session = SharedSession(opened, adapters, manifest.slots, manifest.backbone, manifest.preprocess, ranks)
        undo.pop_all()
    return session


def _open_merged(opener: Opener, graphs: list[GraphRecord], records: tuple[TaskRecord, ...]) -> Session:
    with ExitStack() as undo:
        engines = [opener.open(graph, undo) for graph in graphs]
        session = MergedSession(engines, [record.task for record in records], opener.manifest.preprocess)
        undo.pop_all()
    return session


def warm_up(session: Session, max_batch: int) -> None:
    """Run a batch of 1 and a batch of `max_batch` rows on gray images, so that no client pays for first runs.

    So does every size between that the engine prepares by itself (engines.limits.Limits.rows), and every task.

    Raises:
        EngineError: the engine failed, a task gave NaN, or there is no memory for the batch.
    """
    count = len(session.tasks)
    alone = range(count) if session.form == "merged" else range(1)
    sizes = [*(rows for rows in session.engine.limits.rows if 1 < rows < max_batch), max_batch]
    batches = [[task] for task in alone] + [[row % count for row in range(size)] for size in sizes]
    batches += [list(range(start, min(start + max_batch, count))) for start in range(max_batch, count, max_batch)]
    for rows in batches:
        try:
            images = np.zeros((len(rows), 3, *session.preprocess.size), dtype=np.float32)
        except MemoryError:
            height, width = session.preprocess.size
            raise EngineError(
                f"no memory for {len(rows)} images of {height} x {width} at once; lower --max-batch"
            ) from None
        found = session.run(images, np.arange(len(rows), dtype=np.int64), np.array(rows, dtype=np.int64))
        for task, logits in zip(rows, found, strict=True):
            check_finite(session.tasks[task], logits)
