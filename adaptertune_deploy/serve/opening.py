"""What a server is started with, and opening it: wherever it runs, in this process or in a replica elsewhere."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

from adaptertune_deploy.core.bundle.folder import read_graph
from adaptertune_deploy.core.bundle.manifest import MERGED, SHARED, select_tasks
from adaptertune_deploy.core.errors import AtdError
from adaptertune_deploy.engines.options import EngineOptions
from adaptertune_deploy.engines.table import graph_precision
from adaptertune_deploy.serve.facts.about import read_about
from adaptertune_deploy.serve.facts.told import Told
from adaptertune_deploy.serve.sessions.opener import Opener, with_opener
from adaptertune_deploy.serve.sessions.room import ROOM_FOR_ALL, Room
from adaptertune_deploy.serve.sessions.session import Session, open_from
from adaptertune_deploy.serve.tasks.bundle_source import BundleSource


@dataclass(frozen=True)
class Opened:
    """A bundle that answers.

    session: its tasks, to be closed by who opened it.
    source: where further ones come from; says which were left out.
    told: what the page tells people of them.
    """

    session: Session
    source: BundleSource
    told: Told


@dataclass(frozen=True)
class Opening:
    """What is to be served.

    bundle: its folder.
    names: the tasks; None for all of the bundle.
    form: one of serve.sessions.forms.FORMS.
    asked: of the engine.
    strict: whether a damaged task stops the start, or is left out.
    watched: whether what changes in the bundle is served at once.
    trained: the folder adapters/ in which the tasks' own folders lie where this machine has them.
    room: how many tasks have a slot, and which in any case.
    """

    bundle: Path
    names: tuple[str, ...] | None
    form: str
    asked: EngineOptions
    strict: bool
    watched: bool
    trained: Path
    room: Room = ROOM_FOR_ALL

    def check(self) -> None:
        """Read what can be read of it without an engine, which another machine may have.

        Raises:
            FormatError: no bundle there, or a damaged file of it.
            UsageError: no such task, or pins that leave no slot.
        """
        with_opener(self.bundle, self.asked, self._check)

    def open(self) -> Opened:
        """Open the bundle.

        Raises:
            FormatError: no bundle there, or a damaged one.
            UsageError: no such task, or no graph of this form and precision.
            EngineError: the engine refuses a graph.
        """
        return with_opener(self.bundle, self.asked, self._open)

    def _check(self, opener: Opener) -> None:
        records = self.room.sorted(select_tasks(opener.manifest, self._list()))
        for graph in opener.manifest.graphs:
            if graph.form == SHARED and graph.precision is graph_precision(self.asked) and self.form != MERGED:
                read_graph(self.bundle, graph)
        for record in records if self.strict else ():
            opener.read(record)

    def _open(self, opener: Opener) -> Opened:
        names = self._list()
        left_out: dict[str, AtdError] | None = None if self.strict else {}
        session = open_from(opener, names, self.form, left_out, self.room)
        read = functools.partial(read_about, self.bundle, session.form, graph_precision(self.asked), self.trained)
        try:
            if left_out and opener.is_outdated:
                raise next(iter(left_out.values()))  # a task that was replaced meanwhile is not a damaged one
            told = Told(read(), read)
        except BaseException:
            session.close()
            raise
        source = BundleSource(opener, session.form, names, left_out, self.watched, self.room.pinned)
        return Opened(session, source, told)

    def _list(self) -> list[str] | None:
        return None if self.names is None else list(self.names)
