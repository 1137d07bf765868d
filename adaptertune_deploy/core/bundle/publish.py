"""Changes to a bundle: one writer at a time, new files first, then the manifest, then the old files go.

The folder itself is never exchanged, so a bundle may be the current folder or a mount point, and what else lies in it
stays. Whoever is killed leaves files that no manifest names; the next writer removes and names them. A file that can't
be removed is told of and stops nobody: what is published is published.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from adaptertune_deploy.core.adapter import folder as adapters
from adaptertune_deploy.core.adapter.folder import Adapter, AdapterConfig
from adaptertune_deploy.core.adapter.identity import Identity
from adaptertune_deploy.core.answers import accuracy
from adaptertune_deploy.core.bundle import folder as bundle
from adaptertune_deploy.core.bundle import leftovers
from adaptertune_deploy.core.bundle.graph_facts import GraphFacts
from adaptertune_deploy.core.bundle.manifest import (
    MERGED,
    SHARED,
    GraphRecord,
    Manifest,
    TaskRecord,
    find_graph,
    select_tasks,
    tensor_file,
)
from adaptertune_deploy.core.bundle.manifest_changes import Measured, with_measured, with_task, without
from adaptertune_deploy.core.errors import FormatError
from adaptertune_deploy.core.storage import files

Tell = Callable[[str], None]
Merge = Callable[[bytes, Adapter, GraphFacts], bytes]


# What add_task is given by whoever knows engines and graphs, which core does not.
Verify = Callable[[Manifest, GraphRecord, bytes, Adapter], Measured | None]


def silent(sentence: str) -> None:
    """Tell nobody."""


class Writer:
    """A bundle under change, whose lock is held.

    Attributes:
        old: the manifest that stood there when the lock was taken; None for a new bundle.
    """

    def __init__(self, folder: Path, old: Manifest | None, named: Sequence[str], tell: Tell = silent) -> None:
        """Take a bundle; `named` are the files that the manifest there names, of whatever version it is."""
        self.old = old
        self._folder = folder
        self._named = tuple(named)
        self._tell = tell
        self._written: list[Path] = []

    def write(self, file: str, data: bytes) -> None:
        """Write a file below the bundle; nobody reads it before a manifest that names it is published."""
        path = self._folder / file
        with contextlib.suppress(FormatError):
            if files.read_regular(path, len(data)) == data:
                return
        files.write_bytes(path, data)
        self._written.append(path)

    def write_task(self, adapter: Adapter, config: AdapterConfig) -> TaskRecord:
        """Write what ships of a task into the bundle, nothing else of its folder, and return its record."""
        data = adapters.pack(adapter.tensors, Identity(adapter.task, config.backbone, config.preprocess))
        sha256 = files.sha256_bytes(data)
        name = tensor_file(adapter.task.name, sha256)
        self.write(name, data)
        return TaskRecord(adapter.task, name, sha256, accuracy.recorded(config, adapter.task))

    def publish(self, manifest: Manifest) -> None:
        """Make `manifest` what the bundle holds, and remove the files that only the old one named."""
        bundle.write_manifest(self._folder, manifest)
        self._written.clear()
        stale = set(self._named) - set(manifest.files)
        leftovers.remove(self._folder, [self._folder / file for file in sorted(stale)], self._tell)
        self.old, self._named = manifest, manifest.files

    def undo(self) -> None:
        """Remove what was written and not published, as the manifest on the disk says: a signal may come between.

        That manifest may be of another version, so its text decides: a file's name holds its hash.
        """
        try:
            text = files.read_regular(self._folder / bundle.MANIFEST_NAME)
        except FormatError:
            text = b""
        unnamed = [path for path in self._written if path.relative_to(self._folder).as_posix().encode() not in text]
        leftovers.remove(self._folder, unnamed, self._tell)


@contextmanager
def writing(
    folder: Path, tell: Tell = silent, other: Callable[[Path], Sequence[str]] | None = None
) -> Iterator[Writer]:
    """Hold a bundle's lock for the length of a `with` block; after an error the bundle is as it was.

    Args:
        folder: a bundle, an empty folder, or a place where there is none yet.
        tell: called with what a person should know: that another writer is waited for, what a killed one left behind,
            what can't be removed.
        other: reads the files that a manifest of another version names, where one is to be replaced; called with the
            lock held. The writer's `old` is None then.

    Raises:
        FormatError: the manifest there can't be read.
    """
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with files.locked(folder / leftovers.LOCK_NAME, lambda: tell(f"waiting for another atd that writes {folder}/")):
            there = (folder / bundle.MANIFEST_NAME).exists()
            old = bundle.read_manifest(folder) if there and other is None else None
            named = other(folder) if other is not None else old.files if old is not None else ()
            leftovers.sweep(folder, named, tell)
            writer = Writer(folder, old, named, tell)
            try:
                yield writer
            except BaseException:
                writer.undo()
                raise
    except BaseException:
        for place in made:
            with contextlib.suppress(OSError):
                place.rmdir()
        raise


def add_task(
    folder: Path,
    source: Path,
    tell: Tell = silent,
    ship: str | None = None,
    verify: Verify | None = None,
    merge: Merge | None = None,
) -> TaskRecord:
    """Add a trained task to a bundle, or replace the task of that name; needs no torch and traces nothing.

    Args:
        folder: the bundle.
        source: the folder adapters/<task>/.
        tell: called with what a person should know: what is replaced or goes, and see `writing`.
        ship: the candidate, one of AdapterConfig.candidates; None takes the one that training chose.
        verify: measures a graph of the manifest, given with its bytes, on this task, or returns None where it can't
            run such a graph; it raises where the graph answers otherwise than it should. None measures nothing and
            reads no graph.
        merge: makes the task's merged graph out of the shared one, in every precision that there is of that; see
            export.merge.merged_graph.

    Returns:
        The new record. A task that the bundle holds already keeps its record, its merged graphs and its parity.

    Raises:
        FormatError: a damaged adapter, another backbone or preprocessing, no slot for a block, no shared graph, or
            values that overflow float32.
        UsageError: the adapter was asked for, and the task was trained with rank 0.
        ParityError: `verify` found a difference; nothing was added.
    """
    from adaptertune_deploy.core.adapter import bank

    bundle.check_there(folder)  # so that a mistyped folder is not made
    config, adapter = adapters.read_adapter(source, ship)
    bank.folded(adapter)
    with writing(folder, tell) as writer:
        manifest = writer.old or bundle.read_manifest(folder)
        bundle.check_same_model(config, manifest.backbone, manifest.preprocess, str(folder))
        if not any(graph.form == SHARED for graph in manifest.graphs):
            raise FormatError(
                f"{folder}: holds merged graphs only, which take no new task; run atd export without --no-shared"
            )
        bank.check_slots(adapter.task.name, adapter.task.adapter.blocks, manifest.slots)
        record = writer.write_task(adapter, config)
        new = with_task(manifest, record)
        if merge is not None:
            for shared in (graph for graph in manifest.graphs if graph.form == SHARED):
                new = _with_merged(folder, writer, new, adapter, shared, merge)
        if verify is not None:
            for graph in new.graphs:
                if graph.task in (None, record.task.name):
                    found = verify(new, graph, bundle.read_graph(folder, graph), adapter)
                    new = new if found is None else with_measured(new, found)
        if new != manifest:
            _tell_changes(folder, manifest, new, record, tell)
            writer.publish(new)
        return record


def remove_task(folder: Path, name: str, tell: Tell = silent) -> Manifest:
    """Remove a task from a bundle, with what was made and measured of it, and return the manifest without it.

    Args:
        folder: the bundle.
        name: the task's.
        tell: see `writing`.

    Raises:
        UsageError: the bundle holds no such task.
        FormatError: the manifest can't be read.
    """
    bundle.check_there(folder)  # so that a mistyped folder is not made
    with writing(folder, tell) as writer:
        manifest = writer.old or bundle.read_manifest(folder)
        (record,) = select_tasks(manifest, [name])
        kept = tuple(held for held in manifest.tasks if held is not record)
        new = dataclasses.replace(without(manifest, name), tasks=kept)
        writer.publish(new)
    return new


def _with_merged(
    folder: Path, writer: Writer, manifest: Manifest, adapter: Adapter, source: GraphRecord, merge: Merge
) -> Manifest:
    """Write a task's merged graph, made of a shared one, and return the manifest with it."""
    from adaptertune_deploy.core.adapter import bank

    task = adapter.task.name
    record = next(held for held in manifest.tasks if held.task.name == task)
    data = merge(bundle.read_graph(folder, source), adapter, bundle.merged_facts(manifest, record))
    graph = bundle.record_graph(
        data,
        MERGED,
        {bank.IMAGES: source.inputs[bank.IMAGES]},
        opset=source.opset,
        ir_version=source.ir_version,
        task=task,
        precision=source.precision,
        source=source.sha256,
        calibration=source.calibration,
    )
    old = find_graph(manifest, MERGED, source.precision, task)
    if graph == old:
        return manifest
    writer.write(graph.file, data)
    kept = tuple(held for held in manifest.graphs if held is not old)
    parity = tuple(entry for entry in manifest.parity if old is None or entry.graph != old.file)
    return dataclasses.replace(manifest, graphs=(*kept, graph), parity=parity)


def _tell_changes(folder: Path, old: Manifest, new: Manifest, record: TaskRecord, tell: Tell) -> None:
    """Say that a task is replaced, and which of its merged graphs go without a new one."""
    if not any(held.task.name == record.task.name and held != record for held in old.tasks):
        return
    tell(f"replaced task '{record.task.name}' of {folder}/")
    for graph in old.graphs:
        if graph.task == record.task.name and find_graph(new, graph.form, graph.precision, graph.task) is None:
            tell(f"removed {graph.file}, the merged graph of what it was; for a new one: atd add --merge")
