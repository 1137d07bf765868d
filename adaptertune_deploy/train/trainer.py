"""One training run from a dataset's name to the folder adapters/<task>/."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from adaptertune_deploy.core.adapter.folder import AdapterConfig
from adaptertune_deploy.core.adapter.nested import WidthRecord
from adaptertune_deploy.core.progress import Progress, silent
from adaptertune_deploy.data.names.whereabouts import remember
from adaptertune_deploy.data.samples import Dataset
from adaptertune_deploy.model.adapter import count_parameters
from adaptertune_deploy.train.artefact import write_artefact
from adaptertune_deploy.train.comparison.candidates import Adapted, Frozen, fit_adapters
from adaptertune_deploy.train.comparison.crossfit import cross_validate
from adaptertune_deploy.train.comparison.measuring import fit_head_alone, measure_adapted, measure_head_alone
from adaptertune_deploy.train.nested.widths import cross_validate_widths, measure_widths
from adaptertune_deploy.train.outcome.measured import (
    ADAPTER,
    HEAD,
    Gate,
    Measure,
    Measured,
    Proofs,
    Repeat,
)
from adaptertune_deploy.train.parallel.group import Group
from adaptertune_deploy.train.prepare import prepared
from adaptertune_deploy.train.probe.class_weights import are_unequal
from adaptertune_deploy.train.probe.probe import Probe
from adaptertune_deploy.train.rank.search import Found, search_rank
from adaptertune_deploy.train.request.recipe import AUTO_FAST, FULL, GIVEN
from adaptertune_deploy.train.request.request import TrainRequest
from adaptertune_deploy.train.run import Run
from adaptertune_deploy.train.shared.work import shared


@dataclass(frozen=True)
class TrainResult:
    """What training made: the artefact's folder and config, what was measured, and what a person should read."""

    folder: Path
    config: AdapterConfig
    measured: Measured
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Trained:
    """The adapter candidate of one seed.

    gate: what cross-validation says of it.
    measure: on the test images.
    widths: of nested adapters.
    """

    adapted: Adapted
    gate: Gate
    measure: Measure
    widths: tuple[WidthRecord, ...] = ()


def train_task(
    request: TrainRequest,
    progress: Progress = silent,
    tell: Callable[[str], None] = lambda sentence: None,
    dataset: Dataset | None = None,
    group: Group | None = None,
) -> TrainResult:
    """Train one task and write its folder; an older folder of that name is replaced only at the end.

    Args:
        request: what to train.
        progress: told as the work goes on.
        tell: called with every sentence a person should read, the dataset's licence first, before training starts;
            what train.request.preflight says is not repeated.
        dataset: the images themselves, where they were made in Python (data.sources.torch_items.from_torch); None opens
            the dataset that the request names.
        group: the processes that train together, of which this one is the first; None trains alone.

    Raises:
        DatasetError, BackboneError, UsageError: what was asked can't be had.
        TrainingError: the loss is not finite or a proof failed; nothing is written.
    """
    with prepared(request, progress, dataset, tell) as run:
        for note in run.notes:
            tell(note)
        with shared(run, request, group) as run, run.keeping():
            return _train_run(request, run)


def _train_run(request: TrainRequest, run: Run) -> TrainResult:
    frozen, probe = fit_head_alone(run)
    head = measure_head_alone(run, probe)
    found = _find_rank(run, frozen, probe)
    if found is not None:
        run = run.with_rank(found.choice.rank)
    turns = run.recipe.seeds if run.recipe.rank or run.recipe.method == FULL else 0
    gates = {0: found.gate} if found and found.choice.tried else {}
    trained = [_train(run, frozen, probe, run.recipe.seed + turn, gates.get(turn)) for turn in range(turns)]
    measured = _measured(run, frozen, head, trained, found, run.seconds)
    model = trained[0].adapted.model if trained else None
    config = write_artefact(request.out, run, request.recipe, probe, model, measured)
    if place_of_images := run.dataset.folder or request.data_dir:
        remember(config.tensors_sha256, place_of_images)
    return TrainResult(request.out / config.task.name, config, measured, run.notes)


def _find_rank(run: Run, frozen: Frozen, probe: Probe) -> Found | None:
    """Return the rank that is enough, or None where one was given."""
    if run.recipe.search == GIVEN:
        return None
    folds = 1 if run.recipe.search == AUTO_FAST else run.recipe.folds
    return search_rank(run, frozen, probe, run.fold(folds, "gate"), run.recipe.seed)


def _train(run: Run, frozen: Frozen, probe: Probe, seed: int, gate: Gate | None) -> Trained:
    """Cross-validate the adapter candidate where no search did, then train it on all images and measure it on the test.

    Args:
        run: with the rank that is to be trained.
        frozen: of all training images.
        probe: the careful probe.
        seed: of the adapters' training.
        gate: what a search's cross-validation said of this rank and seed.
    """
    widths: tuple[WidthRecord, ...] = ()
    if gate is None:
        fold = run.fold(run.recipe.folds, "gate")
        if run.recipe.nested:
            gate, widths = cross_validate_widths(run, frozen, probe, fold, seed)
        else:
            gate = cross_validate(run, frozen, probe, fold, seed)
    adapted = fit_adapters(run, frozen, probe, np.arange(len(frozen.targets)), seed, "all images")
    return Trained(adapted, gate, measure_adapted(run, adapted, gate.temperature), widths)


def _measured(
    run: Run, frozen: Frozen, head: Measure, trained: list[Trained], found: Found | None, seconds: float
) -> Measured:
    first = trained[0] if trained else None
    gate = first.gate if first else found.gate if found else None
    asked = run.recipe.ship
    ships = HEAD if first is None else gate.ships if asked == "auto" and gate else asked
    method = run.recipe.method
    return Measured(
        head=head,
        adapter=first.measure if first else None,
        gate=gate,
        ships=method if ships == ADAPTER else ships,
        method=method,
        chosen_by="gate" if asked == "auto" and (first or found) else "user",
        classes_unequal=are_unequal(frozen.targets),
        curve=first.adapted.fit.curve if first else (),
        proofs=_proofs(run, first.adapted) if first and method == ADAPTER else None,
        frozen=count_parameters(run.backbone.module),
        seconds=seconds,
        repeats=tuple(
            Repeat(run.recipe.seed + turn, one.gate, one.measure) for turn, one in enumerate(trained) if turn
        ),
        rank=found.choice if found else None,
        widths=measure_widths(run, first.adapted, first.widths, first.measure) if first else (),
        copies=run.copies,
    )


def _proofs(run: Run, adapted: Adapted) -> Proofs:
    return Proofs(
        start_images=adapted.start_images,
        frozen_tensors=len(run.backbone.module.state_dict()),
        frozen_sha256=run.frozen_sha256,
        adapters_with_gradient=adapted.fit.adapters_with_gradient,
    )
