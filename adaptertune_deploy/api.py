"""The commands as functions: `import adaptertune_deploy as atd`, then `atd.train_task(...)` and so on.

Each does what its command does, with the same checks and the same files; what is heavy is imported when it is called.
Paths may be text. Errors are core.errors.AtdError, whose text is the line that the command would print.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.core.progress import Progress, silent
from adaptertune_deploy.engines.options import ON_CPU, USUAL, EngineOptions

if TYPE_CHECKING:
    from adaptertune_deploy.core.adapter.folder import Adapter, AdapterConfig
    from adaptertune_deploy.core.bundle.manifest import Manifest, ParityRecord, TaskRecord
    from adaptertune_deploy.core.bundle.publish import Merge
    from adaptertune_deploy.serve.offline.opened import OpenBundle
    from adaptertune_deploy.train.request.recipe import Recipe
    from adaptertune_deploy.train.trainer import TrainResult

AnyPath: TypeAlias = "str | Path"
Tell: TypeAlias = Callable[[str], None]


@dataclass(frozen=True)
class AddedTask:
    """What add_task did.

    record: the task as the bundle holds it.
    parity: how far each graph's answers lie from torch's, as this call measured it.
    not_verified: why nothing was compared; empty where it was.
    """

    record: TaskRecord
    parity: tuple[ParityRecord, ...]
    not_verified: str


def train_task(
    dataset: AnyPath,
    *,
    out: AnyPath = "adapters",
    task: str | None = None,
    backbone: str | None = None,
    image_size: int | tuple[int, int] | None = None,
    recipe: Recipe | None = None,
    data_dir: AnyPath | None = None,
    weights: AnyPath | None = None,
    allow_missing: bool = False,
    skip_bad: bool = False,
    allow_random: bool = False,
    resume: bool = False,
    checkpoint_every: float = 60.0,
    log: Sequence[str] = (),
    log_dir: AnyPath | None = None,
    progress: Progress = silent,
    tell: Tell = lambda sentence: None,
) -> TrainResult:
    """Train one task and write its folder, as `atd train`; needs the extra [train].

    Args:
        dataset: a known name, the path of an image folder or of a list of images.
        out: folder that gets the adapter folder.
        task: the task's name; None takes the dataset's.
        backbone: timm name; None takes the usual one.
        image_size: pixels of a side, or (height, width); None takes that of the tasks beside it, else the backbone's.
        recipe: how to train; None takes the usual one.
        data_dir: where the dataset lies or goes; None takes data/<dataset>.
        weights: local weights of the backbone.
        allow_missing: skip images that a list names and the disk lacks.
        skip_bad: leave out images that are absent, damaged, too large or no images.
        allow_random: permit the backbone tag "random".
        resume: go on with the training of this task that was stopped.
        checkpoint_every: seconds between two states kept on disk; 0 keeps none.
        log: kinds of logs of every step, "csv" and "tensorboard".
        log_dir: where they are written; None takes a folder that becomes a part of the report.
        progress: told as the work goes on.
        tell: called with every sentence a person should read: licences, what is replaced.

    Returns:
        The folder, its config, and what was measured on the test images.

    Raises:
        UsageError, DatasetError, BackboneError: what was asked can't be had.
        TrainingError: the loss is not finite or a proof failed; nothing is written.
    """
    from adaptertune_deploy.train.request.preflight import check_train
    from adaptertune_deploy.train.request.recipe import Recipe
    from adaptertune_deploy.train.request.request import TrainRequest

    request = TrainRequest(
        dataset=str(dataset),
        backbone=backbone,
        out=Path(out),
        recipe=recipe or Recipe(),
        task=task,
        data_dir=_path(data_dir),
        weights=_path(weights),
        allow_missing=allow_missing,
        skip_bad=skip_bad,
        allow_random=allow_random,
        resume=resume,
        checkpoint_every=checkpoint_every,
        log=tuple(log),
        log_dir=_path(log_dir),
        image_size=(image_size, image_size) if isinstance(image_size, int) else image_size,
    )
    for note in check_train(request):
        tell(note)
    from adaptertune_deploy.train.trainer import train_task as train

    return train(request, progress, tell)


def export_bundle(
    adapters: AnyPath | Sequence[AnyPath],
    out: AnyPath = "bundle",
    *,
    merge: bool = False,
    shared: bool = True,
    precisions: Precision | str | Sequence[Precision | str] = (Precision.FP32,),
    images: AnyPath | None = None,
    calibration: AnyPath | None = None,
    weights: AnyPath | None = None,
    engine: EngineOptions = ON_CPU,
    replace: bool = False,
    ship: str | None = None,
    rank: int | None = None,
    explain: bool = False,
    allow_random: bool = False,
    progress: Progress = silent,
    tell: Tell = lambda sentence: None,
) -> Manifest:
    """Export tasks to ONNX and verify the graphs against torch, as `atd export`; needs the extra [export].

    Args:
        adapters: one folder adapters/<task>/ or several, all trained on one backbone.
        out: the bundle's folder.
        merge: also write one self-contained graph per task.
        shared: write the graph that serves every task.
        precisions: of the graphs, one or several, or their names; each form is written in all of them.
        images: a folder of images to verify on; None takes those that training held back.
        calibration: a folder of images to measure ranges on, where a precision needs some; None takes those that
            training kept.
        weights: local weights of the backbone.
        engine: what to verify on.
        replace: whether tasks and graphs that stand at `out` may be dropped.
        ship: the candidate of every task: "adapter" (nested ones at a width too: "adapter-4"), "head" or "full"; None
            takes the one that its training chose.
        rank: of adapters at most: nested ones that are wider are cut to it; None takes them as they were trained.
        explain: whether to tell, for each precision, how far each block lies from fp32.
        allow_random: permit the backbone tag "random".
        progress: told as the work goes on.
        tell: called with every sentence a person should read.

    Returns:
        What the bundle says of itself: tasks, graphs, and how far each lies from torch.

    Raises:
        UsageError, FormatError, ExportError, BackboneError, EngineError: what was asked can't be had.
        ParityError: a graph differs from torch; the bundle is as it was.
    """
    from adaptertune_deploy.export.plan import plan_export

    named = [precisions] if isinstance(precisions, str) else precisions  # a Precision is a str
    folders = [Path(adapters)] if isinstance(adapters, (str, Path)) else [Path(folder) for folder in adapters]
    plan = plan_export(
        folders,
        Path(out),
        merge=merge,
        shared=shared,
        images=_path(images),
        engine=engine,
        replace=replace,
        ship=ship,
        rank=rank,
        precisions=tuple(map(Precision.of, named)),
        calibration=_path(calibration),
        explain=explain,
    )
    from adaptertune_deploy.export.exporter import export_bundle as export  # torch, after what needs none

    return export(plan, weights=_path(weights), allow_random=allow_random, progress=progress, tell=tell)


def open_bundle(
    bundle: AnyPath = "bundle",
    tasks: str | Sequence[str] | None = None,
    *,
    form: str = "auto",
    engine: EngineOptions = USUAL,
) -> OpenBundle:
    """Open a bundle's tasks for answering, as `atd predict`; needs an engine, and no torch.

    Args:
        bundle: its folder.
        tasks: a name, or several; None for all.
        form: "shared", "merged", or "auto" for the shared form where the bundle holds it.
        engine: what runs the graph.

    Returns:
        What answers; close it, or use it in a `with` block.

    Raises:
        UsageError: an unknown task, form, engine or setting.
        FormatError: a damaged bundle.
        EngineError: the engine is not installed here or refuses a graph.
    """
    from adaptertune_deploy.serve.offline.opened import OpenBundle
    from adaptertune_deploy.serve.sessions.session import open_session

    names = [tasks] if isinstance(tasks, str) else None if tasks is None else list(tasks)
    return OpenBundle(open_session(Path(bundle), names, form, engine))


def load_task(adapter: AnyPath, ship: str | None = None) -> tuple[AdapterConfig, Adapter]:
    """Read a trained task's folder: its config, and the tensors of the candidate that ships.

    Args:
        adapter: the folder adapters/<task>/.
        ship: the candidate, see export_bundle; None takes the one that training chose.

    Raises:
        FormatError: absent or damaged.
        UsageError: the adapter of a task that was trained with rank 0.
    """
    from adaptertune_deploy.core.adapter.folder import read_adapter

    return read_adapter(Path(adapter), ship)


def add_task(
    adapter: AnyPath,
    bundle: AnyPath = "bundle",
    *,
    merge: bool = False,
    ship: str | None = None,
    rank: int | None = None,
    engine: EngineOptions | None = ON_CPU,
    tell: Tell = lambda sentence: None,
) -> AddedTask:
    """Add a trained task to a bundle, or replace the task of that name, as `atd add`; needs no torch.

    Args:
        adapter: the folder adapters/<task>/.
        bundle: the bundle's folder.
        merge: also write the task's self-contained graph; needs onnx.
        ship: the candidate, see export_bundle; None takes the one that training chose.
        rank: of the adapters at most: nested ones that are wider are cut to it; None takes them as they were trained.
        engine: what to compare the task's answers on with those that torch gave when it was trained; None for nothing.
        tell: called with every sentence a person should read: what is replaced or goes.

    Raises:
        UsageError, FormatError, EngineError: what was asked can't be had.
        ParityError: the task answers otherwise than torch did; it was not added.
    """
    from adaptertune_deploy.core.adapter.cutting import at_rank
    from adaptertune_deploy.core.adapter.folder import read_config
    from adaptertune_deploy.core.bundle import publish
    from adaptertune_deploy.engines.verification.added import verification

    folder, place = Path(adapter), Path(bundle)
    ship = at_rank(read_config(folder), ship, rank)
    check = verification(place, folder, ship, engine)
    record = publish.add_task(place, folder, tell, ship, check.measure, _merging() if merge else None)
    reason = "no engine was asked for" if engine is None else check.reason
    return AddedTask(record, tuple(check.parity), reason)


def _merging() -> Merge:
    from adaptertune_deploy.export.merge import merged_graph

    return merged_graph


def _path(given: AnyPath | None) -> Path | None:
    return None if given is None else Path(given)
