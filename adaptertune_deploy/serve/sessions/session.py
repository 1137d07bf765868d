"""A loaded bundle that answers rows: the Protocol, and opening one from a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from adaptertune_deploy.core.answers.stored_answer import StoredAnswer
from adaptertune_deploy.core.bundle.manifest import (
    MERGED,
    SHARED,
    GraphRecord,
    Manifest,
    TaskRecord,
    select_graph,
    select_tasks,
)
from adaptertune_deploy.core.errors import AtdError, UsageError, did_you_mean
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.core.spec import PreprocessSpec, TaskSpec
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.engines.engine_facts import EngineFacts
from adaptertune_deploy.engines.options import USUAL, EngineOptions
from adaptertune_deploy.engines.table import graph_precision
from adaptertune_deploy.serve.sessions.forms import FORMS
from adaptertune_deploy.serve.sessions.merged_session import MergedSession
from adaptertune_deploy.serve.sessions.opener import Opener, with_opener
from adaptertune_deploy.serve.sessions.room import ROOM_FOR_ALL, Room
from adaptertune_deploy.serve.sessions.shared_session import SharedSession
from adaptertune_deploy.serve.sessions.warming import try_out


class Session(Protocol):
    """Tasks over one backbone, loaded and ready to run.

    Any number of threads may ask, while another one loads and unloads.

    Attributes:
        backbone: its name.
        preprocess: how an image becomes its input.
        engine: what runs it.
        form: "shared" or "merged".
    """

    backbone: str
    preprocess: PreprocessSpec
    engine: EngineFacts
    form: str

    @property
    def tasks(self) -> Mapping[int, TaskSpec]:
        """What it answers: key -> task, in the order in which they came; no key is given twice, and 0 is the first."""

    @property
    def digests(self) -> Mapping[int, str]:
        """Key -> SHA-256 of the file that the task was loaded of, "" where there was none."""

    @property
    def answers(self) -> Mapping[int, StoredAnswer]:
        """Key -> what the task is known to answer about the known image, of the tasks whose bundle says it."""

    def file(self, opener: Opener, record: TaskRecord) -> str:
        """Return the name of the bundle's file that load would read."""

    def digest(self, opener: Opener, record: TaskRecord) -> str:
        """Return the SHA-256 of the file that `load` would read.

        Raises:
            UsageError: see load.
        """

    def load(self, opener: Opener, record: TaskRecord) -> int:
        """Take one more task of a bundle and return its key; whatever is raised, the session is as it was.

        Raises:
            UsageError: the bundle lacks the graph that this form needs.
            FormatError: a damaged file, or one that is not what the manifest says.
            EngineError: the engine refuses it, or has no room.
        """

    def unload(self, key: int) -> None:
        """Let go of a task that no run reads: who calls sees to that.

        Raises:
            EngineError: no such task.
        """

    def run(self, images: Array, image: npt.NDArray[np.int64], task: npt.NDArray[np.int64]) -> list[Array]:
        """Answer B rows about N images.

        Args:
            images: float32 [N, 3, H, W], preprocessed.
            image: int64 [B], which image each row asks about.
            task: int64 [B], the key of the task that each row asks for.

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
            (engines.table.graph_precision).

    Every file is read once, compared with its hash, and what was read is what runs. A graph must say and take what
    the manifest says of it (engines.verification.contract), so that nothing answers under another task's name or
    labels.

    Raises:
        UsageError: an unknown task, form, engine, device or setting, or a form or precision that the bundle does not
            hold.
        FormatError: a damaged bundle, or a graph that is not what the manifest says.
        EngineError: the engine refuses a graph, or is not what was asked for.
    """
    check_form(form)
    return with_opener(folder, options, lambda opener: open_from(opener, tasks, form))


def open_from(
    opener: Opener,
    tasks: list[str] | None = None,
    form: str = "auto",
    left_out: dict[str, AtdError] | None = None,
    room: Room = ROOM_FOR_ALL,
) -> Session:
    """Open the tasks of a bundle whose manifest was read.

    Args:
        opener: the bundle.
        tasks: see open_session.
        form: see open_session.
        left_out: gets the tasks that can't be loaded, answer NaN, or answer otherwise than is stored, with why; None
            raises the first error of loading, and leaves the answers to warm_up. One task at least must be left.
        room: how many of them it holds; each of the others is tried and let go of again.

    Raises:
        UsageError, FormatError, EngineError: see open_session.
    """
    check_form(form)
    manifest = opener.manifest
    records = select_tasks(manifest, tasks)
    if not records:
        raise UsageError(f"{opener.folder}: holds no task to serve; export one with: atd export")
    return open_records(opener, room.sorted(records), form, left_out, room)


def open_records(
    opener: Opener,
    records: Sequence[TaskRecord],
    form: str,
    left_out: dict[str, AtdError] | None = None,
    room: Room = ROOM_FOR_ALL,
) -> Session:
    """Open some records of a bundle's manifest, one of them more than once where it is given so; see open_from."""
    manifest, precision = opener.manifest, graph_precision(opener.options)
    if form == MERGED or (form == "auto" and _only_merged(manifest, precision)):
        return _open_merged(opener, records, left_out, room)
    return _open_shared(opener, select_graph(manifest, SHARED, precision), records, left_out, room)


def check_form(form: str) -> None:
    """Raise UsageError when there is no form of that name."""
    if form not in FORMS:
        raise UsageError(f"no form '{form}', only {', '.join(FORMS)}.{did_you_mean(form, FORMS)}")


def _only_merged(manifest: Manifest, precision: Precision) -> bool:
    """Return whether a bundle holds graphs of this precision, and no shared one among them."""
    forms = {graph.form for graph in manifest.graphs if graph.precision is precision}
    return forms == {MERGED}


def _open_shared(
    opener: Opener,
    graph: GraphRecord,
    records: Sequence[TaskRecord],
    left_out: dict[str, AtdError] | None,
    room: Room,
) -> Session:
    manifest = opener.manifest
    ranks = [record.task.adapter.rank for record in records[: room.slots or None]]
    with ExitStack() as undo:
        opened = opener.open(graph)
        undo.callback(opened.close)
        session = SharedSession(opened, manifest.slots, manifest.backbone, manifest.preprocess, ranks)
        _load(session, opener, records, left_out, room)
        undo.pop_all()
    return session


def _open_merged(
    opener: Opener, records: Sequence[TaskRecord], left_out: dict[str, AtdError] | None, room: Room
) -> Session:
    for record in records if left_out is None else ():
        opener.merged_graph(record.task.name)  # one that is absent is named before any is opened
    with ExitStack() as undo:
        session = MergedSession(opener.manifest.backbone.name, opener.manifest.preprocess)
        undo.callback(session.close)
        _load(session, opener, records, left_out, room)
        undo.pop_all()
    return session


def _load(
    session: Session,
    opener: Opener,
    records: Sequence[TaskRecord],
    left_out: dict[str, AtdError] | None,
    room: Room,
) -> None:
    """Load tasks; without `left_out` warm_up tries those that stay all together, later."""
    stay = records[: room.slots or None]
    for record in [*records[len(stay) :], *stay]:  # those that go again come first: there are never more than slots
        stays = record in stay
        if left_out is None and stays:
            session.load(opener, record)
            continue
        try:
            key = session.load(opener, record)
            try_out(session, key)
            if not stays:
                session.unload(key)
        except AtdError as error:
            if left_out is None:
                raise
            left_out[record.task.name] = error
    if not session.tasks and left_out:
        raise next(iter(left_out.values()))
