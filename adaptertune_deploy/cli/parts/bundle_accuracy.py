"""What `atd evaluate --bundle` does: a bundle's answers on a task's own test images, beside those of its fp32 graph."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adaptertune_deploy.cli.terminal import console, scores, table, text
from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.core.precision import Precision

if TYPE_CHECKING:
    from adaptertune_deploy.core.adapter.folder import AdapterConfig
    from adaptertune_deploy.core.storage.tensors import Array
    from adaptertune_deploy.engines.options import EngineOptions
    from adaptertune_deploy.serve.sessions.session import Session
    from adaptertune_deploy.train.evaluation.answered import Answer, Answered
    from adaptertune_deploy.train.evaluation.reevaluate import EvaluateRequest


def check_task(bundle: Path, config: AdapterConfig, ship: str | None) -> None:
    """Raise UsageError unless the bundle holds what the adapter folder ships.

    Raises:
        UsageError: no such task, or another one of its name.
        FormatError: no bundle there, or a damaged one.
    """
    from adaptertune_deploy.cli.parts import tasks
    from adaptertune_deploy.core.bundle.folder import read_manifest
    from adaptertune_deploy.core.bundle.manifest import select_tasks

    name = config.task.name
    tasks.served(bundle, name)
    held = select_tasks(read_manifest(bundle), [name])[0].task
    if held != config.shipped(ship):
        raise UsageError(
            f"{bundle}/ holds another '{name}' than its folder ships ({held.adapter.words}); put this one in with "
            "atd add, or choose another --ship or --rank"
        )


def evaluate_and_show(bundle: Path, request: EvaluateRequest, options: EngineOptions, as_json: bool) -> None:
    """Print what a bundle's answers on a split are worth, as a table or as JSON."""
    found = evaluate_bundle(bundle, request, options)
    for note in found.notes:
        console.print_note(note)
    if as_json:
        console.print_json(facts(found, options))
    else:
        show(found, options)


def evaluate_bundle(bundle: Path, request: EvaluateRequest, options: EngineOptions) -> Answered:
    """Answer a split with the bundle, in the precision asked for and in fp32 where it holds such a graph."""
    from adaptertune_deploy.core.bundle.folder import read_manifest
    from adaptertune_deploy.serve.sessions.session import open_session
    from adaptertune_deploy.train.evaluation.answered import answered

    held = {graph.precision for graph in read_manifest(bundle).graphs}
    asked = [options.precision]
    if options.precision is not Precision.FP32 and Precision.FP32 in held:
        asked.insert(0, Precision.FP32)
    with ExitStack() as opened, console.progress_bars() as progress:
        ways: dict[str, Answer] = {}
        for precision in asked:
            session = open_session(bundle, [request.folder.name], options=replace(options, precision=precision))
            opened.callback(session.close)
            ways[str(precision)] = _asking(session)
        return answered(request, ways, progress)


def _asking(session: Session) -> Answer:
    def answer(images: Array) -> Array:
        import numpy as np

        rows = np.arange(len(images), dtype=np.int64)
        return np.stack(session.run(images, rows, np.zeros_like(rows)))

    return answer


def facts(found: Answered, options: EngineOptions) -> dict[str, Any]:
    """Return what was measured as plain JSON values."""
    from adaptertune_deploy.train.outcome.results import measure_facts

    labels, asked, plain = found.config.task.labels, str(options.precision), str(Precision.FP32)
    result: dict[str, Any] = {
        "task": found.config.task.name,
        "split": found.split,
        "engine": options.engine,
        "precision": asked,
        "precisions": {name: measure_facts(measure, labels) for name, measure in found.measures.items()},
    }
    if len(found.measures) > 1:
        paired = found.against(plain, asked)
        result["against_fp32"] = {
            "better": paired.better,
            "worse": paired.worse,
            "images": paired.images,
            "p": paired.p,
            "same_class": found.same(plain, asked),
        }
    return result


def show(found: Answered, options: EngineOptions) -> None:
    """Print the scores side by side, and what a paired test says of the difference."""
    from adaptertune_deploy.train.outcome.score_rows import score_rows

    measures = list(found.measures.values())
    images = measures[0].scores.images
    title = f"{found.config.task.name} on {options.engine}: {found.split} split, {text.plural(images, 'image')}"
    rows = score_rows(measures, found.config.task.labels)
    table.show(console.out, title, (table.Words(""), *found.measures), rows)
    asked, plain = str(options.precision), str(Precision.FP32)
    if len(measures) > 1:
        same = found.same(plain, asked)
        console.print_line(f"{asked} against {plain}: {found.against(plain, asked).words}")
        console.print_line(
            f"the same class on {same:,} of {text.plural(images, 'image')} ({100 * same / images:.1f} %)"
        )
    elif options.precision is not Precision.FP32:
        console.print_note("the bundle holds no fp32 graph to compare with")
    if found.split == "train":
        console.print_note("these images were trained on; new images are answered worse")
    scores.tell_coarse(images, found.split)
