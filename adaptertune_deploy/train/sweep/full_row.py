"""What full fine-tuning comes to in a sweep, on the same folds as the ranks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from adaptertune_deploy.core.spec import HEAD_ONLY
from adaptertune_deploy.train.comparison.candidates import Frozen, fit_adapters
from adaptertune_deploy.train.comparison.measuring import measure_adapted
from adaptertune_deploy.train.outcome.measured import Measure
from adaptertune_deploy.train.probe.probe import Probe
from adaptertune_deploy.train.rank.trials import RankTrials
from adaptertune_deploy.train.request.recipe import method_fields
from adaptertune_deploy.train.run import Run
from adaptertune_deploy.train.sweep.row import compare_row, make_row
from adaptertune_deploy.train.sweep.swept import FULL, SweptRank

NAME = "full fine-tuning"


def full_row(run: Run, frozen: Frozen, probe: Probe, trials: RankTrials) -> SweptRank:
    """Fine-tune the whole backbone once a fold and once a seed, by the recipe of that method.

    Args:
        run: of adapters.
        frozen: of all training images.
        probe: the careful probe.
        trials: of the ranks, all of them added.
    """
    recipe = replace(run.recipe, **method_fields(FULL))
    run = replace(run, recipe=recipe, task=replace(run.task, adapter=HEAD_ONLY))
    compared = trials.apart(run, (0,), f"{NAME}, ")[0] if trials.enough_images else None
    temperature = compared[0].temperature if compared is not None else 1.0
    tests = [_measure(run, frozen, probe, recipe.seed + turn, temperature) for turn in range(recipe.seeds)]
    row = make_row(0, tests, FULL)
    return row if compared is None else compare_row(row, compared, trials)


def _measure(run: Run, frozen: Frozen, probe: Probe, seed: int, temperature: float) -> Measure:
    rows = np.arange(len(frozen.targets))
    return measure_adapted(run, fit_adapters(run, frozen, probe, rows, seed, f"{NAME}, seed {seed}"), temperature)
