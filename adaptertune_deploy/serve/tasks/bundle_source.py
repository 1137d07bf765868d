"""The bundle that a server was started with, read again while it runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping

from adaptertune_deploy.core.bundle import folder as bundle
from adaptertune_deploy.core.bundle.manifest import SHARED, TaskRecord, find_graph
from adaptertune_deploy.core.errors import AtdError, FormatError
from adaptertune_deploy.engines.table import graph_precision
from adaptertune_deploy.serve.sessions.opener import Opener

Mark = tuple[int, int, int, int]
RESTART = "restart the server to serve it"


class BundleSource:
    """Where tasks come from that are loaded beside traffic; each method may read files, so none is for the event loop.

    Attributes:
        first: the bundle as it stood when the session was opened.
        left_out: why tasks of it are not served from the start; see sessions.session.open_from.
        watched: whether a change at rest is to reach the server.
        pinned: names of tasks that keep their slots; see tasks.slots.

    Args:
        opener: what the session was opened with.
        form: the session's.
        names: the tasks that it follows; None for all.
        left_out: see above.
        watched: see above.
        pinned: see above.
    """

    def __init__(
        self,
        opener: Opener,
        form: str,
        names: Collection[str] | None = None,
        left_out: Mapping[str, AtdError] | None = None,
        watched: bool = False,
        pinned: Collection[str] = (),
    ) -> None:
        self.first, self._form = opener, form
        self.left_out, self.watched = dict(left_out or {}), watched
        self.pinned = frozenset(pinned)
        self._names = None if names is None else frozenset(names)

    def look(self, file: str = bundle.MANIFEST_NAME) -> Mark | None:
        """Return what tells a file of the bundle from what stands there after a change; None where none is."""
        try:
            found = (self.first.folder / file).stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino

    def read(self) -> Opener:
        """Return the bundle as its manifest stands now.

        Raises:
            FormatError: a damaged manifest, or one of another backbone, preprocessing or shared graph: what runs can't
                answer for its tasks.
        """
        folder, before = self.first.folder, self.first.manifest
        manifest = bundle.read_manifest(folder)
        if manifest.backbone.difference(before.backbone) or manifest.preprocess != before.preprocess:
            raise FormatError(f"{folder}: holds another backbone or preprocessing than this server runs; {RESTART}")
        if self._form == SHARED:
            precision = graph_precision(self.first.options)
            graphs = [find_graph(held, SHARED, precision) for held in (before, manifest)]
            if manifest.slots != before.slots or len({graph and graph.sha256 for graph in graphs}) > 1:
                raise FormatError(f"{folder}: holds another shared graph than this server runs; {RESTART}")
        return dataclasses.replace(self.first, manifest=manifest)

    def records(self, opener: Opener) -> dict[str, TaskRecord]:
        """Return the tasks of a manifest that are followed, by name."""
        records = {record.task.name: record for record in opener.manifest.tasks}
        return {name: record for name, record in records.items() if self._names is None or name in self._names}
