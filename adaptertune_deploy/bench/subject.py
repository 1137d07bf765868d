"""What is timed: a bundle's tasks, repeated to any number, asked about rows that mix them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from adaptertune_deploy.core.bundle.manifest import MERGED, GraphRecord, Manifest, TaskRecord, select_graph
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.engines.options import EngineOptions
from adaptertune_deploy.engines.table import graph_precision
from adaptertune_deploy.serve.sessions.opener import Opener
from adaptertune_deploy.serve.sessions.session import Session, open_records


def repeated(manifest: Manifest, tasks: int) -> list[TaskRecord]:
    """Return so many tasks of a bundle, in turn, some of them more than once where it holds fewer."""
    return [manifest.tasks[place % len(manifest.tasks)] for place in range(tasks)]


def open_tasks(folder: Path, manifest: Manifest, form: str, options: EngineOptions, tasks: int) -> Session:
    """Open so many tasks of a bundle; in the merged form each has an engine of its own, as N models would.

    Raises:
        AtdError: see serve.sessions.session.open_session.
    """
    return open_records(Opener(folder, manifest, options), repeated(manifest, tasks), form)


def asking(session: Session, images: Array) -> Callable[[], list[Array]]:
    """Return how to ask about each image once, the session's tasks in turn."""
    count = np.arange(len(images), dtype=np.int64)
    task = np.array(list(session.tasks), dtype=np.int64)[count % len(session.tasks)]
    return lambda: session.run(images, count, task)


def disk_bytes(folder: Path, manifest: Manifest, form: str, options: EngineOptions, tasks: int) -> int:
    """Return what so many tasks take on the disk: a graph for each, or one graph and a file of tensors for each."""
    records, precision = repeated(manifest, tasks), graph_precision(options)
    if form == MERGED:
        graphs = [select_graph(manifest, MERGED, precision, record.task.name) for record in records]
        return sum(graph.bytes for graph in graphs)
    shared: GraphRecord = select_graph(manifest, form, precision)
    return shared.bytes + sum((folder / record.file).stat().st_size for record in records)
