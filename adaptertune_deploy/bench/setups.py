"""Which engines run which precisions of a bundle here: what can be compared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from adaptertune_deploy.core.bundle.manifest import MERGED, SHARED, Manifest
from adaptertune_deploy.core.errors import AtdError
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.engines.opening import check_options
from adaptertune_deploy.engines.options import EngineOptions
from adaptertune_deploy.engines.table import ENGINES, graph_precision, is_installed, lacks


@dataclass(frozen=True)
class Setup:
    """How a graph is run; see engines.options.EngineOptions."""

    engine: str
    precision: Precision
    device: str = "auto"
    threads: int = 0

    @property
    def options(self) -> EngineOptions:
        """What is asked of the engine."""
        return EngineOptions(self.engine, self.device, self.precision, self.threads)

    @property
    def words(self) -> str:
        """What people read: "onnxruntime in fp32"."""
        threads = f" on {self.threads} threads" if self.threads > 1 else " on 1 thread" if self.threads else ""
        return f"{self.engine} in {self.precision}{threads}"


def engines_here(device: str = "auto") -> tuple[str, ...]:
    """Return the engines that are installed and have this device, in the table's order."""
    return tuple(name for name in ENGINES if is_installed(name) and _takes(name, device))


def _takes(engine: str, device: str) -> bool:
    try:
        check_options(EngineOptions(engine, device))
    except AtdError:
        return False
    return True


def forms_of(manifest: Manifest) -> tuple[str, ...]:
    """Return the forms that a bundle can be served in: the shared one, and the merged one where every task has it."""
    tasks = {record.task.name for record in manifest.tasks}
    merged = {graph.task for graph in manifest.graphs if graph.form == MERGED}
    shared = any(graph.form == SHARED for graph in manifest.graphs)
    return (*([SHARED] if shared else []), *([MERGED] if tasks and tasks <= merged else []))


def setups(
    manifest: Manifest, form: str, engines: Iterable[str], precisions: Iterable[Precision], device: str = "auto"
) -> Iterator[Setup]:
    """Yield the precisions of a bundle's form that each engine runs, those that it derives among them.

    Args:
        manifest: the bundle's.
        form: one of forms_of.
        engines: keys of engines.table.ENGINES.
        precisions: those that may be.
        device: as a user names it.
    """
    held = _complete(manifest, form)
    wanted = list(precisions)
    for engine in engines:
        for precision in wanted:
            setup = Setup(engine, precision, device)
            graph = graph_precision(setup.options)
            if graph in held and lacks(setup.options, graph) is None:
                yield setup


def _complete(manifest: Manifest, form: str) -> set[Precision]:
    """Return the precisions in which a form answers every task."""
    tasks = {record.task.name for record in manifest.tasks} if form == MERGED else {None}
    graphs = [graph for graph in manifest.graphs if graph.form == form]
    return {
        graph.precision
        for graph in graphs
        if tasks <= {other.task for other in graphs if other.precision is graph.precision}
    }
