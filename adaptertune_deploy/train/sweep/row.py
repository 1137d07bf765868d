"""A row of a sweep, out of what its trainings measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from adaptertune_deploy.train.outcome.measured import Measure, OutOfFold
from adaptertune_deploy.train.rank import rule
from adaptertune_deploy.train.rank.rule import Losses
from adaptertune_deploy.train.rank.trials import RankTrials
from adaptertune_deploy.train.sweep.swept import ADAPTER, SweptRank


def make_row(rank: int, tests: Sequence[Measure], method: str = ADAPTER) -> SweptRank:
    """Return a rank's row with what it came to on the test images, one measure a seed, and without its comparison."""
    scores = [test.scores for test in tests]
    top1, loss = tuple(score.top1 for score in scores), tuple(score.loss for score in scores)
    return SweptRank(rank, tests[0].parameters, None, None, None, None, top1, loss, method)


def compare_row(row: SweptRank, compared: tuple[OutOfFold, Losses], trials: RankTrials) -> SweptRank:
    """Return a row with its out-of-fold answers compared with those of the best rank of `trials`, image by image."""
    one, losses = compared
    above, error = rule.difference(losses, trials.losses[rule.best(trials.losses)])
    return replace(row, loss=float(losses.mean()), top1=one.top1, above=above, error=error)
