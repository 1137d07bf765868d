"""The search of `--rank auto`: several ranks go through the gate's folds, and the smallest that is enough is taken."""

from __future__ import annotations

from dataclasses import dataclass

from adaptertune_deploy.train.comparison.candidates import Frozen
from adaptertune_deploy.train.comparison.crossfit import usual_folds
from adaptertune_deploy.train.comparison.gate import untried
from adaptertune_deploy.train.outcome.measured import Gate, RankChoice
from adaptertune_deploy.train.probe.probe import Folds, Probe
from adaptertune_deploy.train.rank import rule
from adaptertune_deploy.train.rank.trials import RankTrials
from adaptertune_deploy.train.request.recipe import ADAPTER, AUTO, AUTO_FAST, USUAL_RANK, count_steps
from adaptertune_deploy.train.run import Run

# This part of a run's stopwatch.
SEARCH = "search"
# Ranks that are tried at most, so that a search costs two and a half times a run with a given rank, or 1.6 times. For
# "auto" by the folds of the search; for "auto:fast", whose search is one split, by the folds of the other run.
MOST_TRIED = {AUTO: {1: 4, 2: 4, 3: 3}, AUTO_FAST: {1: 2, 2: 3, 3: 3}}


def most_tried(search: str, folds: int, images: int) -> int:
    """Return how many ranks above 0 may be tried.

    Args:
        search: "auto" or "auto:fast".
        folds: of the search.
        images: that train, which decide the folds of a run whose rank is given.
    """
    costing = usual_folds(images) if search == AUTO_FAST else folds
    return MOST_TRIED[search][min(costing, max(MOST_TRIED[search]))]


@dataclass(frozen=True, eq=False)
class Found:
    """What the search found.

    choice: for the report.
    gate: of the rank that was picked; of the best one tried where that is 0.
    """

    choice: RankChoice
    gate: Gate


def search_rank(run: Run, frozen: Frozen, probe: Probe, fold: Folds, seed: int) -> Found:
    """Try ranks on the gate's folds until the smallest that is enough is known.

    Where the recipe asks for the adapter to ship, that is the smallest above 0, measured by the best above 0.

    Args:
        run: the training images and the recipe, whose search says how many ranks may be tried.
        frozen: see RankTrials.
        probe: see there.
        fold: see there.
        seed: see there.
    """
    run.watch.begin(SEARCH)
    trials = RankTrials(run, frozen, probe, fold, seed)
    if not trials.enough_images:
        choice = RankChoice(run.recipe.search, USUAL_RANK, trials.folds, trials.images, (), (), 0.0, 0.0)
        return Found(choice, untried(trials.folds, trials.images))
    most = most_tried(run.recipe.search, trials.folds, len(frozen.targets))
    least = 1 if run.recipe.ship == ADAPTER else rule.HEAD_ONLY
    while (rank := rule.following(trials.losses, most, least)) is not None:
        trials.add(rank)
    losses = trials.losses
    picked = rule.pick(losses, least)
    shown = picked or min((rank for rank in losses if rank), key=lambda rank: float(losses[rank].mean()))
    seconds = run.watch.end(SEARCH)
    choice = RankChoice(
        run.recipe.search,
        picked,
        trials.folds,
        trials.images,
        trials.tried(),
        rule.within(losses, least),
        seconds,
        seconds * _given_steps(run, len(fold), picked) / ((len(losses) - 1) * _steps(run, fold)),
        overruled=rule.pick(losses) < least,
    )
    return Found(choice, trials.gate(shown))


def _steps(run: Run, fold: Folds) -> int:
    """Return the steps of one rank's trainings on these folds."""
    images = len(fold)
    return sum(count_steps(run.recipe, int((fold != number).sum()), images) for number in range(int(fold.max()) + 1))


def _given_steps(run: Run, images: int, picked: int) -> int:
    """Return the steps that a run whose rank is given takes in place of a search and, where it ends at 0, after it."""
    whole = 0 if picked else count_steps(run.recipe, images, images)
    return _steps(run, run.fold(run.recipe.folds, "gate")) + whole
