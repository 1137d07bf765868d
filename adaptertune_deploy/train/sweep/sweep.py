"""Train every rank of a list with every seed: out of fold for the comparison, and on all images for the test."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from adaptertune_deploy.core.progress import Progress, silent
from adaptertune_deploy.core.storage import files
from adaptertune_deploy.data.samples import Dataset
from adaptertune_deploy.report.sweep import SweptPoint, draw_sweep
from adaptertune_deploy.train.comparison.candidates import Frozen, fit_adapters
from adaptertune_deploy.train.comparison.measuring import fit_head_alone, measure_adapted, measure_head_alone
from adaptertune_deploy.train.outcome.measured import Measure
from adaptertune_deploy.train.parallel.group import Group
from adaptertune_deploy.train.prepare import prepared
from adaptertune_deploy.train.probe.probe import Probe
from adaptertune_deploy.train.rank import rule
from adaptertune_deploy.train.rank.trials import RankTrials
from adaptertune_deploy.train.request.request import TrainRequest
from adaptertune_deploy.train.run import Run
from adaptertune_deploy.train.shared.work import shared
from adaptertune_deploy.train.sweep import swept
from adaptertune_deploy.train.sweep.full_row import full_row
from adaptertune_deploy.train.sweep.nested_rows import nested_rows
from adaptertune_deploy.train.sweep.preflight import check_results, result_files, swept_recipe
from adaptertune_deploy.train.sweep.ranks import check_ranks
from adaptertune_deploy.train.sweep.row import make_row
from adaptertune_deploy.train.sweep.swept import FORMAT_VERSION, Sweep, SweptRank


def sweep_ranks(
    request: TrainRequest,
    ranks: Sequence[int],
    progress: Progress = silent,
    tell: Callable[[str], None] = lambda sentence: None,
    dataset: Dataset | None = None,
    nested: bool = False,
    full: bool = False,
    group: Group | None = None,
) -> Sweep:
    """Sweep over ranks, and write out/<task>.json and out/<task>.png.

    The first seed of the recipe trains every fold; every seed trains on all images. No rank is chosen by the test
    images: they show what the choice out of fold is worth.

    Args:
        request: what to train; its recipe's rank does not matter.
        ranks: see sweep.ranks.check_ranks.
        progress: told as the work goes on.
        tell: called with every sentence a person should read.
        dataset: the images themselves, where they were made in Python; None opens the dataset that the request names.
        nested: also train nested adapters of the largest rank, and show every width of them.
        full: also fine-tune the whole backbone.
        group: the processes that train together, of which this one is the first; None trains alone.

    Raises:
        DatasetError, BackboneError, UsageError: what was asked can't be had.
        TrainingError: the loss is not finite or a proof failed; nothing is written.
    """
    chosen = check_ranks(ranks)
    recipe = swept_recipe(request.recipe, chosen, nested, full)
    with prepared(replace(request, recipe=recipe), progress, dataset, tell, check_results) as run:
        for note in run.notes:
            tell(note)
        with shared(run, request, group) as run, run.keeping():
            frozen, probe = fit_head_alone(run)
            trials = RankTrials(run, frozen, probe, run.fold(run.recipe.folds, "gate"), run.recipe.seed)
            rows = [make_row(rule.HEAD_ONLY, [measure_head_alone(run, probe)])]
            for rank in chosen:
                if trials.enough_images:
                    trials.add(rank)
                rows.append(make_row(rank, _measures(run.with_rank(rank), frozen, probe, trials)))
            others = nested_rows(run.with_rank(chosen[-1]), frozen, probe, trials) if nested else ()
            if full:
                others = (*others, full_row(run, frozen, probe, trials))
            sweep = _sweep(run, trials, rows, others, run.seconds)
            write_sweep(request.out, sweep)
    return sweep


def write_sweep(out: Path, sweep: Sweep) -> None:
    """Write <task>.png, then <task>.json into a folder, which is made."""
    out.mkdir(parents=True, exist_ok=True)
    points, nested, full = (
        [SweptPoint(one.rank, one.bytes, one.test_top1, one.loss, one.error if one.above else 0.0) for one in rows]
        for rows in (sweep.of(swept.ADAPTER), sweep.of(swept.NESTED), sweep.of(swept.FULL))
    )
    measured, picture = result_files(out, sweep.task)
    files.write_bytes(picture, draw_sweep(points, sweep.enough, swept.title(sweep), nested, full))
    swept.write(measured, sweep)


def _measures(run: Run, frozen: Frozen, probe: Probe, trials: RankTrials) -> list[Measure]:
    """Train a rank on all images with every seed, and measure each on the test images."""
    temperature = trials.gate(run.recipe.rank).temperature if trials.enough_images else 1.0
    rows, found = np.arange(len(frozen.targets)), []
    for turn in range(run.recipe.seeds):
        seed = run.recipe.seed + turn
        what = f"rank {run.recipe.rank}, seed {seed}"
        found.append(measure_adapted(run, fit_adapters(run, frozen, probe, rows, seed, what), temperature))
    return found


def _sweep(run: Run, trials: RankTrials, rows: list[SweptRank], others: Sequence[SweptRank], seconds: float) -> Sweep:
    if trials.enough_images:
        tried = {one.rank: one for one in trials.tried()}
        rows = [
            replace(
                row,
                loss=tried[row.rank].loss,
                top1=tried[row.rank].top1,
                above=tried[row.rank].above,
                error=tried[row.rank].error,
            )
            for row in rows
        ]
    return Sweep(
        format_version=FORMAT_VERSION,
        task=run.task.name,
        dataset=run.dataset.name,
        backbone=run.backbone.spec.name,
        placement=run.recipe.placement,
        train_images=len(run.splits.train),
        test_images=len(run.test),
        seeds=tuple(run.recipe.seed + turn for turn in range(run.recipe.seeds)),
        folds=trials.folds,
        compared=trials.images,
        ranks=(*rows, *others),
        enough=rule.pick(trials.losses) if trials.enough_images else None,
        alike=rule.within(trials.losses) if trials.enough_images else (),
        seconds=seconds,
    )
