"""The bundle that a server was started with, read again while it runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

from adaptertune_deploy.core import bundle
from adaptertune_deploy.core.errors import FormatError
from adaptertune_deploy.core.manifest import SHARED, TaskRecord, find_graph
from adaptertune_deploy.engines.engine import graph_precision
from adaptertune_deploy.serve.sessions.opener import Opener

RESTART = "restart the server to serve it"


class BundleSource:
    """Where tasks come from that are loaded beside traffic; each method may read files, so none is for the event loop.

    Args:
        opener: what the session was opened with.
        form: the session's.
        names: the tasks that it follows; None for all.
    """

    def __init__(self, opener: Opener, form: str, names: Collection[str] | None = None) -> None:
        self._opened, self._form = opener, form
        self._names = None if names is None else frozenset(names)

    def read(self) -> Opener:
        """Return the bundle as its manifest stands now.

        Raises:
            FormatError: a damaged manifest, or one of another backbone, preprocessing or shared graph: what runs can't
                answer for its tasks.
        """
        folder, before = self._opened.folder, self._opened.manifest
        manifest = bundle.read_manifest(folder)
        if manifest.backbone.difference(before.backbone) or manifest.preprocess != before.preprocess:
            raise FormatError(f"{folder}: holds another backbone or preprocessing than this server runs; {RESTART}")
        if self._form == SHARED:
            precision = graph_precision(self._opened.options)
            graphs = [find_graph(held, SHARED, precision) for held in (before, manifest)]
            if manifest.slots != before.slots or len({graph and graph.sha256 for graph in graphs}) > 1:
                raise FormatError(f"{folder}: holds another shared graph than this server runs; {RESTART}")
        return dataclasses.replace(self._opened, manifest=manifest)

    def records(self, opener: Opener) -> dict[str, TaskRecord]:
        """Return the tasks of a manifest that are followed, by name."""
        records = {record.task.name: record for record in opener.manifest.tasks}
        return {name: record for name, record in records.items() if self._names is None or name in self._names}

    @property
    def first(self) -> Opener:
        """The bundle as it stood when the session was opened."""
        return self._opened
