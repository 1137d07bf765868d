"""atd evaluate: accuracy of a trained task on a split of its dataset."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from adaptertune_deploy.cli.parts import bundle_accuracy, engines, options
from adaptertune_deploy.cli.parts.options import DATA, PLACES, value
from adaptertune_deploy.cli.terminal import completion, console, scores, text
from adaptertune_deploy.core.errors import UsageError

if TYPE_CHECKING:
    from adaptertune_deploy.train.evaluation.reevaluate import Evaluation

SPLITS = ("train", "test")
SHIP = "Candidate to measure: adapter, full or head; auto takes the one that ships."


def evaluate(
    adapter: Annotated[str, value("--adapter", "TASK", DATA, "Task to evaluate.", complete=completion.trained_task)],
    split: Annotated[str, value("--split", "NAME", DATA, "train or test.", complete=completion.splits)] = "test",
    ship: Annotated[str, value("--ship", "NAME", DATA, SHIP, complete=completion.candidates)] = "auto",
    rank: options.AtRank = None,
    dataset: Annotated[
        str | None,
        value("--dataset", "NAME", DATA, "Dataset, folder or list.", "what it was trained on", completion.datasets),
    ] = None,
    bundle: Annotated[
        Path | None,
        value("--bundle", "FOLDER", PLACES, "Measure what this bundle answers instead of torch.", "torch answers"),
    ] = None,
    engine: engines.Engine = "onnxruntime",
    precision: engines.Precision = "fp32",
    settings: engines.Settings = None,
    allow_missing: options.AllowMissing = False,
    skip_bad: options.SkipBad = False,
    adapters_dir: options.AdaptersDir = Path("adapters"),
    data_dir: options.DataDir = None,
    weights: options.Weights = None,
    device: options.Device = "auto",
    allow_random: options.AllowRandom = False,
    as_json: options.Json = False,
) -> None:
    """Measure a trained task on the test images that training held back, or on those that it was trained on.

    With --bundle the bundle's graph answers, in --precision, beside its fp32 graph: both are counted, and a paired test
    says whether the precision costs accuracy.

    \b
    atd evaluate --adapter pets
    atd evaluate --adapter pets --ship head --json
    atd evaluate --adapter pets --rank 4    nested adapters, cut
    atd evaluate --adapter pets --bundle bundle --precision int8    what int8 costs
    """
    from adaptertune_deploy.cli.parts import tasks
    from adaptertune_deploy.core.adapter.cutting import at_rank
    from adaptertune_deploy.core.adapter.folder import read_adapter, read_config
    from adaptertune_deploy.train.device.names import check_device_name

    if split not in SPLITS:
        raise UsageError(f"--split {split}: expected {' or '.join(SPLITS)}")
    asked_rank, chosen = options.at_rank(rank), options.candidate(ship)
    check_device_name(device)
    if bundle is None:
        _check_unasked(engine, precision, settings)
    folder = tasks.adapter(adapters_dir, adapter)
    chosen = at_rank(read_config(folder), chosen, asked_rank)
    config, _ = read_adapter(folder, chosen)
    asked = engines.asked(engine, device, settings, precision)
    if bundle is not None:
        bundle_accuracy.check_task(bundle, config, chosen)
    with console.loading("torch"):
        from adaptertune_deploy.train.evaluation.reevaluate import EvaluateRequest, evaluate_task

    request = EvaluateRequest(
        folder=folder,
        split=split,
        ship=chosen,
        dataset=dataset,
        data_dir=data_dir,
        weights=weights,
        device=device,
        allow_missing=allow_missing,
        skip_bad=skip_bad,
        allow_random=allow_random,
    )
    if bundle is not None:
        bundle_accuracy.evaluate_and_show(bundle, request, asked, as_json)
        return
    with console.progress_bars() as progress:
        result = evaluate_task(request, progress)
    for note in result.notes:
        console.print_note(note)
    if as_json:
        console.print_json(facts(result))
    else:
        show(result)


def _check_unasked(engine: str, precision: str, settings: Sequence[str] | None) -> None:
    """Refuse options of a bundle's engine where no bundle answers."""
    from adaptertune_deploy.engines.options import USUAL

    if (engine, precision, settings) != (USUAL.engine, str(USUAL.precision), None):
        raise UsageError("--engine, --precision and -E choose how a bundle answers; name one: --bundle bundle")


def facts(result: Evaluation) -> dict[str, Any]:
    """Return what was measured as plain JSON values."""
    from adaptertune_deploy.train.outcome.results import measure_facts

    task = result.config.task
    return {
        "task": task.name,
        "split": result.split,
        "candidate": result.candidate,
        "ships": result.config.ships,
        **measure_facts(result.measure, task.labels),
    }


def show(result: Evaluation) -> None:
    """Print the scores."""
    from adaptertune_deploy.train.outcome.verdict import name_of

    config, images = result.config, result.measure.scores.images
    ships = "" if result.candidate == config.ships else ", which does not ship"
    scores.show(
        f"{config.task.name} on {config.backbone.name}: {result.split} split, {text.plural(images, 'image')}{ships}",
        {name_of(result.candidate): result.measure},
        config.task.labels,
        result.frozen,
    )
    if result.split == "train":
        console.print_note("these images were trained on; new images are answered worse")
    scores.tell_coarse(images, result.split)
