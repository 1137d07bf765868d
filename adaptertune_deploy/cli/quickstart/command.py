"""atd quickstart: the whole path on small data, with the backbone that ships in the package."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from adaptertune_deploy.cli.parts import options
from adaptertune_deploy.cli.parts.options import PLACES, TRAINING, value
from adaptertune_deploy.cli.terminal import console, interrupts
from adaptertune_deploy.core.bundle.manifest import FORMS
from adaptertune_deploy.core.errors import AtdError

if TYPE_CHECKING:
    from adaptertune_deploy.cli.quickstart.served import Served
    from adaptertune_deploy.core.bundle.manifest import Manifest
    from adaptertune_deploy.train.trainer import TrainResult

OUT = "Folder that gets adapters/ and bundle/; nothing outside it is touched."
DURATION = "a few minutes"
# Task -> passes over its images, fewer than atd train would choose, so that the whole path takes minutes.
EPOCHS = {"digits": 2, "shapes": 4}
TASKS = tuple(EPOCHS)


def quickstart(
    out: Annotated[Path, value("--out", "FOLDER", PLACES, OUT)] = Path("quickstart"),
    rank: options.Rank = 8,
    epochs: Annotated[
        int,
        value("--epochs", "N", TRAINING, "Passes over each dataset; 0: enough for each.", "2 for digits, 4 for shapes"),
    ] = 0,
    as_json: options.Json = False,
) -> None:
    """Train two small tasks, export both forms, verify, serve and measure: a few minutes on two CPU cores.

    Needs no network: digits are real scans that come with scikit-learn, shapes are drawn by formulas, and so were the
    images on which the small backbone in the package was pretrained. It shows that the path works; for accuracy on
    photographs, atd train takes a backbone that was pretrained on photographs.

    \b
    atd quickstart
    atd quickstart --out demo --json
    """
    from adaptertune_deploy.cli.quickstart import place, result

    options.check_at_least("--rank", rank, 1)
    options.check_at_least("--epochs", epochs, 0)
    started = time.perf_counter()
    for note in place.prepare(out, TASKS):
        console.print_note(note)
    with interrupts.stoppable(place.finished(out, TASKS)):
        trained, manifest, served = _run(out, rank, epochs)
    _check_agreement(manifest)
    facts = result.facts(out / place.BUNDLE, trained, manifest, served, time.perf_counter() - started)
    if as_json:
        console.print_json(facts)
    else:
        result.show(facts, out)


def _run(out: Path, rank: int, epochs: int) -> tuple[list[TrainResult], Manifest, Served]:
    from adaptertune_deploy.cli.quickstart import place

    with console.loading("torch and onnx"):
        from adaptertune_deploy.cli.quickstart.served import ask_server
        from adaptertune_deploy.export.exporter import export_bundle
        from adaptertune_deploy.export.plan import plan_export

    with console.progress_bars(lines=True) as progress:
        trained = [_train(out / place.ADAPTERS, task, rank, epochs, progress) for task in TASKS]
        folders = [result.folder for result in trained]
        bundle = out / place.BUNDLE
        plan = plan_export(folders, bundle, merge=True, replace=True)
        manifest = export_bundle(plan, progress=progress)
        return trained, manifest, ask_server(bundle, folders, progress)


def _train(adapters: Path, task: str, rank: int, epochs: int, progress: Callable[[str, int, int], None]) -> TrainResult:
    from adaptertune_deploy.model.names import EMBEDDED_BACKBONE
    from adaptertune_deploy.train.request.recipe import Recipe
    from adaptertune_deploy.train.request.request import TrainRequest
    from adaptertune_deploy.train.trainer import train_task

    def labelled(what: str, done: int, total: int) -> None:
        progress(f"{task}: {what}", done, total)

    recipe = Recipe(rank=rank, epochs=epochs or EPOCHS[task])
    return train_task(TrainRequest(task, EMBEDDED_BACKBONE, adapters, recipe), labelled)


def _check_agreement(manifest: Manifest) -> None:
    """Refuse to call the bundle good unless both forms were compared with torch; export itself refuses a difference."""
    for record in manifest.tasks:
        if not all(manifest.parity_of(record.task.name, form) for form in FORMS):
            raise AtdError(
                f"task '{record.task.name}' was exported without a parity check; this is a defect, report it"
            )
