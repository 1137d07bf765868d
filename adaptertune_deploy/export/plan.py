"""What an export is to do, settled before torch is imported: what can be refused by reading files is refused here."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from adaptertune_deploy.core.adapter import cutting, nested
from adaptertune_deploy.core.adapter import folder as artefact
from adaptertune_deploy.core.adapter.folder import Adapter, AdapterConfig
from adaptertune_deploy.core.adapter.identity import Identity
from adaptertune_deploy.core.bundle import folder as bundle
from adaptertune_deploy.core.bundle import leftovers
from adaptertune_deploy.core.bundle.manifest import MERGED, SHARED, Manifest
from adaptertune_deploy.core.errors import ExportError, FormatError, UsageError
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.core.spec import TaskSpec
from adaptertune_deploy.core.storage import files
from adaptertune_deploy.engines.opening import check_options
from adaptertune_deploy.engines.options import ON_CPU, EngineOptions
from adaptertune_deploy.export.calibration import Calibration, find_calibration
from adaptertune_deploy.export.images import find_images
from adaptertune_deploy.export.precision.table import is_calibrated

ROOM = 64_000_000  # bytes: a small backbone with some tasks; a larger one fails when it is written, and leaves nothing


@dataclass(frozen=True)
class Source:
    """One trained task: its folder, its config, and what ships of it.

    ship: the candidate that was asked for, None for the one that training chose.
    """

    folder: Path
    config: AdapterConfig
    adapter: Adapter
    ship: str | None = None

    @property
    def shipped(self) -> tuple[TaskSpec, str]:
        """The task, and the hash of the tensor file that it has in a bundle."""
        task = self.adapter.task
        data = artefact.pack(self.adapter.tensors, Identity(task, self.config.backbone, self.config.preprocess))
        return task, files.sha256_bytes(data)

    @property
    def weights(self) -> Path | None:
        """The file of a backbone of its own, which full fine-tuning leaves; see core.adapter.folder.weights_of."""
        return artefact.weights_of(self.folder, self.config)

    @property
    def cost(self) -> str | None:
        """What cutting it saves and costs; None for a task that leaves as it was trained."""
        rank = nested.rank_of(self.ship or "")
        return None if rank is None else cutting.cost_of(self.config, rank)


@dataclass(frozen=True)
class Plan:
    """What an export is to do.

    sources: the tasks, all of one backbone and preprocessing.
    out: the bundle's folder.
    merge, shared: which forms to write.
    images: files to verify on.
    engine: what to verify on.
    replace: whether tasks and graphs that stand at `out` may be dropped.
    precisions: of the graphs, in the order in which they are made.
    calibration: images that ranges are measured on; None where no precision needs them.
    explain: whether to tell how far each block lies from fp32.
    """

    sources: tuple[Source, ...]
    out: Path
    merge: bool
    shared: bool
    images: tuple[Path, ...]
    engine: EngineOptions
    replace: bool
    precisions: tuple[Precision, ...] = (Precision.FP32,)
    calibration: Calibration | None = None
    explain: bool = False

    @property
    def slots(self) -> tuple[int, ...]:
        """Blocks after which any of the tasks adapts, ascending; every block where no task adapts any.

        A graph needs a slot, and with one after every block a later task may adapt where it likes.
        """
        adapted = {block for source in self.sources for block in source.adapter.task.adapter.blocks}
        return tuple(sorted(adapted or range(self.sources[0].config.backbone.depth)))

    def check_dropped(self, old: Manifest | None) -> None:
        """Raise UsageError when the export would drop what a bundle holds, unless `replace` says that it may."""
        gone = _dropped(self, old) if old is not None and not self.replace else []
        if gone:
            add = f"atd add ADAPTER --bundle {shlex.quote(str(self.out))}"
            raise UsageError(
                f"{self.out}: this export would drop {' and '.join(gone)}; keep all by naming all, add tasks with: "
                f"{add}, or let them go: the same command with --replace"
            )


def plan_export(
    adapters: Sequence[Path],
    out: Path,
    *,
    merge: bool = False,
    shared: bool = True,
    images: Path | None = None,
    engine: EngineOptions = ON_CPU,
    replace: bool = False,
    ship: str | None = None,
    rank: int | None = None,
    precisions: Sequence[Precision] = (Precision.FP32,),
    calibration: Path | None = None,
    explain: bool = False,
) -> Plan:
    """Read and check everything that an export starts from.

    Args:
        adapters: folders adapters/<task>/, all trained on one backbone.
        out: the bundle's folder.
        merge: also write one self-contained graph per task.
        shared: write the shared graph.
        images: a folder of images to verify on; None takes those that training held back.
        engine: what to verify on.
        replace: whether tasks and graphs that stand at `out` may be dropped.
        ship: the candidate of every task, "adapter" or "head"; None takes the one that its training chose.
        rank: of adapters at most: nested ones that are wider are cut to it; None takes them as they were trained.
        precisions: of the graphs; each form is written in all of them.
        calibration: a folder of images to measure ranges on, where a precision needs some; None takes those that
            training kept.
        explain: whether to tell, for each precision, how far each block lies from fp32.

    Raises:
        UsageError: nothing to export, no form or precision asked for, an unknown engine or device, a place that can't
            be written, tasks or graphs that the export would drop, the adapter of a task that has none, or one that is
            wider than `rank` and can't be cut to it.
        FormatError: a damaged adapter, or tasks of different backbones or preprocessing.
        ExportError: no images to verify or to calibrate on, or `out` is something else than a bundle.
        EngineError: the engine or device is absent here.
    """
    if not (merge or shared):
        raise UsageError("neither form was asked for; leave out --no-shared or add --merge")
    if not precisions or len(set(precisions)) != len(precisions):
        raise UsageError(f"--precision {','.join(precisions)}: expected one or more, each once")
    check_options(engine)
    old = read_old(out)
    files.check_writable(out, "--out", ROOM)
    sources = read_sources(adapters, ship, rank)
    found = find_images([(source.folder, source.config.samples) for source in sources], images)
    measured = None
    if any(is_calibrated(precision) for precision in precisions):
        measured = find_calibration([(source.folder, source.config) for source in sources], found, calibration)
    plan = Plan(sources, out, merge, shared, found, engine, replace, tuple(precisions), measured, explain)
    plan.check_dropped(old)
    return plan


def read_old(out: Path) -> Manifest | None:
    """Return the manifest of the bundle that stands at `out`, None where there is nothing.

    Raises:
        ExportError: something else lies there, into which a bundle must not be mixed.
    """
    if (out / bundle.MANIFEST_NAME).exists():
        try:
            return bundle.read_manifest(out)
        except FormatError as error:
            raise ExportError(f"{error}; remove that bundle or choose another --out") from None
    foreign = next((path for path in out.rglob("*") if not leftovers.is_own(out, path)), None) if out.is_dir() else None
    if foreign is not None:
        raise ExportError(
            f"{out}: holds something else than a bundle ({foreign.relative_to(out)}); empty it or choose another --out"
        )
    return None


def read_sources(folders: Sequence[Path], ship: str | None = None, rank: int | None = None) -> tuple[Source, ...]:
    """Read adapter folders and check that one backbone graph can serve them all.

    Raises:
        UsageError: no folder at all, two of one task, or one without the candidate that `ship` names, or not at `rank`.
        FormatError: a damaged adapter, values that overflow, or one of another backbone or preprocessing than most.
    """
    from adaptertune_deploy.core.adapter import bank

    if not folders:
        raise UsageError("no adapter to export; train one first: atd train --dataset pets")
    sources = tuple(_read_source(folder, ship, rank) for folder in folders)
    names = Counter(source.config.task.name for source in sources)
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        holders = ", ".join(str(source.folder) for source in sources if source.config.task.name == twice[0])
        raise UsageError(f"task '{twice[0]}' is in {holders}; export one of them")
    models = Counter((source.config.backbone, source.config.preprocess) for source in sources)
    model = models.most_common(1)[0][0]
    usual = next(s.config.task.name for s in sources if (s.config.backbone, s.config.preprocess) == model)
    for source in sources:
        bundle.check_same_model(source.config, *model, f"task '{usual}'")
        bank.folded(source.adapter)
    return sources


def _read_source(folder: Path, ship: str | None, rank: int | None) -> Source:
    chosen = cutting.at_rank(artefact.read_config(folder), ship, rank)
    return Source(folder, *artefact.read_adapter(folder, chosen), chosen)


def replaced(plan: Plan, old: Manifest | None) -> tuple[str, ...]:
    """Return the tasks of a bundle that an export puts other tensors or labels in place of."""
    held = {record.task.name: (record.task, record.sha256) for record in (old.tasks if old else ())}
    coming = {source.config.task.name: source.shipped for source in plan.sources}
    return tuple(name for name, shipped in coming.items() if held.get(name, shipped) != shipped)


def _dropped(plan: Plan, old: Manifest) -> list[str]:
    kept = {source.config.task.name for source in plan.sources}
    tasks = [record.task.name for record in old.tasks if record.task.name not in kept]
    merged = list(dict.fromkeys(graph.task for graph in old.graphs if graph.form == MERGED and graph.task in kept))
    gone = []
    if tasks:
        gone.append(f"task{'s' if len(tasks) > 1 else ''} {', '.join(tasks)}")
    if merged and not plan.merge:
        gone.append(
            f"the merged graph{'s' if len(merged) > 1 else ''} of {', '.join(map(str, merged))} (--merge keeps merged)"
        )
    if any(graph.form == SHARED for graph in old.graphs) and not plan.shared:
        gone.append("the shared graph")
    coarse = [str(precision) for precision in Precision if precision not in plan.precisions and _holds(old, precision)]
    if coarse:
        both = ",".join([*map(str, plan.precisions), *coarse])
        gone.append(f"the {', '.join(coarse)} graphs (--precision {both} keeps them)")
    return gone


def _holds(old: Manifest, precision: Precision) -> bool:
    return any(graph.precision is precision for graph in old.graphs)
