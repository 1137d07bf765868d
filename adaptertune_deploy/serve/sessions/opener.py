"""Reads what a bundle's manifest names, and opens its graphs on one engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from adaptertune_deploy.core.adapter.folder import Adapter
from adaptertune_deploy.core.answers import known_image
from adaptertune_deploy.core.answers.stored_answer import StoredAnswer
from adaptertune_deploy.core.bundle import folder as bundle
from adaptertune_deploy.core.bundle.manifest import MERGED, SHARED, GraphRecord, Manifest, TaskRecord, select_graph
from adaptertune_deploy.core.errors import AtdError, FormatError
from adaptertune_deploy.core.storage.held_file import HeldFile
from adaptertune_deploy.engines.engine import Engine
from adaptertune_deploy.engines.opening import open_engine
from adaptertune_deploy.engines.options import EngineOptions
from adaptertune_deploy.engines.table import graph_precision
from adaptertune_deploy.engines.verification.contract import check_contract

Result = TypeVar("Result")
ATTEMPTS = 5  # a bundle that changes faster than it can be opened is not waited for


@dataclass(frozen=True)
class Opener:
    """A bundle as one manifest describes it. Every file is read once, and what was compared with its hash is what runs.

    options: what is asked of the engine; its precision decides which graphs are taken
        (engines.table.graph_precision).
    held: files of it that were opened before, by their names: they are read whatever lies in the folder now.
    """

    folder: Path
    manifest: Manifest
    options: EngineOptions
    held: Mapping[str, HeldFile] = field(default_factory=dict)

    def holding(self, file: str) -> Opener:
        """Return the same with a file of the folder held open, which can be read when the bundle has it no more.

        Raises:
            FormatError: see core.storage.held_file.HeldFile.
        """
        return replace(self, held={**self.held, file: HeldFile(self.folder / file)})

    def open(self, graph: GraphRecord) -> Engine:
        """Open a graph, which must say and take what the manifest says of it (engines.verification.contract).

        Raises:
            FormatError: a damaged file, or a graph that is not what the manifest says.
            EngineError: the engine refuses it, or is not what was asked for.
        """
        where = str(self.folder / graph.file)
        # Merged graphs are as many as tasks: a second session each would be all their weights again.
        options = self.options if graph.form == SHARED else replace(self.options, at_once=1)
        opened = open_engine(bundle.read_graph(self.folder, graph, self.held.get(graph.file)), where, options)
        try:
            check_contract(opened, bundle.facts_of(self.manifest, graph.task), where, graph.inputs)
        except BaseException:
            opened.close()
            raise
        return opened

    def read(self, record: TaskRecord) -> Adapter:
        """Read one task's tensors.

        Raises:
            FormatError: see core.bundle.folder.read_task.
        """
        return bundle.read_task(self.folder, self.manifest, record, self.held.get(record.file))

    def answer(self, record: TaskRecord) -> StoredAnswer | None:
        """Return what a task is known to answer about the known image of this release, or None."""
        known = (answer for answer in self.manifest.answers if answer.image == known_image.NAME)
        return next((answer for answer in known if answer.task == record.task.name), None)

    def merged_graph(self, task: str) -> GraphRecord:
        """Return the record of a task's merged graph in the precision that the engine has to be given.

        Raises:
            UsageError: the bundle holds none.
        """
        return select_graph(self.manifest, MERGED, graph_precision(self.options), task)

    @property
    def is_outdated(self) -> bool:
        """Whether a file is gone since another manifest took the place of this one."""
        if all((self.folder / file).exists() for file in self.manifest.files):
            return False
        try:
            return bundle.read_manifest(self.folder) != self.manifest
        except FormatError:
            return False


def with_opener(folder: Path, options: EngineOptions, use: Callable[[Opener], Result]) -> Result:
    """Return what `use` makes of a bundle, from one manifest alone.

    Readers take no lock, so a writer may remove what only the manifest before named while `use` still reads it. `use`
    is called again then, with the manifest that stands there now, a few times at most.

    Args:
        folder: the bundle.
        options: see Opener.
        use: reads files of the bundle; it leaves nothing open when it raises an AtdError.

    Raises:
        FormatError: no bundle there, or a damaged manifest.
        AtdError: see `use`.
    """
    for _ in range(ATTEMPTS - 1):
        opener = Opener(folder, bundle.read_manifest(folder), options)
        try:
            return use(opener)
        except AtdError:
            if not opener.is_outdated:
                raise
    return use(Opener(folder, bundle.read_manifest(folder), options))
