"""What nested adapters come to in a sweep: one training a seed, and a row for each of its widths."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from adaptertune_deploy.core.adapter.nested import WidthRecord
from adaptertune_deploy.train.comparison.candidates import Frozen, fit_adapters
from adaptertune_deploy.train.comparison.measuring import measure_adapted
from adaptertune_deploy.train.nested.widths import measure_widths
from adaptertune_deploy.train.outcome.measured import NestedWidth
from adaptertune_deploy.train.probe.probe import Probe
from adaptertune_deploy.train.rank.trials import RankTrials
from adaptertune_deploy.train.request.recipe import nested_widths
from adaptertune_deploy.train.run import Run
from adaptertune_deploy.train.sweep.row import compare_row, make_row
from adaptertune_deploy.train.sweep.swept import NESTED, SweptRank


def nested_rows(run: Run, frozen: Frozen, probe: Probe, trials: RankTrials) -> tuple[SweptRank, ...]:
    """Train nested adapters as the ranks of their own were trained, and compare each width with the best of those.

    Args:
        run: with the full rank.
        frozen: of all training images.
        probe: the careful probe.
        trials: of the ranks of their own, all of them added.
    """
    run = replace(run, recipe=replace(run.recipe, nested=True))
    ranks = nested_widths(run.task.adapter.rank)
    compared = trials.apart(run, ranks, "nested, ") if trials.enough_images else {}
    records = tuple(WidthRecord(rank, compared[rank][0].temperature if compared else 1.0) for rank in ranks)
    seeds = [_measured(run, frozen, probe, run.recipe.seed + turn, records) for turn in range(run.recipe.seeds)]
    rows = []
    for place, rank in enumerate(ranks):
        tests = [seed[place].test for seed in seeds]
        row = make_row(rank, tests, NESTED)
        rows.append(compare_row(row, compared[rank], trials) if compared else row)
    return tuple(rows)


def _measured(
    run: Run, frozen: Frozen, probe: Probe, seed: int, records: tuple[WidthRecord, ...]
) -> tuple[NestedWidth, ...]:
    """Train nested adapters on all images, and measure every width on the test images."""
    rows = np.arange(len(frozen.targets))
    adapted = fit_adapters(run, frozen, probe, rows, seed, f"nested rank {run.recipe.rank}, seed {seed}")
    return measure_widths(run, adapted, records, measure_adapted(run, adapted, records[-1].temperature))
