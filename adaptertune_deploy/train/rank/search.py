"""The search of `--rank auto`: several ranks go through the gate's folds, and the smallest that is enough is taken."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from adaptertune_deploy.core.tensors import Array
from adaptertune_deploy.data.samples import Targets
from adaptertune_deploy.train.candidates import Frozen
from adaptertune_deploy.train.crossfit import adapter_answers, head_answers
from adaptertune_deploy.train.gate import FEWEST_IMAGES, compare, compared_losses, untried
from adaptertune_deploy.train.outcome.measured import Gate, RankChoice, TriedRank
from adaptertune_deploy.train.probe.probe import Folds, Probe
from adaptertune_deploy.train.rank import rule
from adaptertune_deploy.train.rank.rule import Losses
from adaptertune_deploy.train.recipe import AUTO, AUTO_FAST, USUAL_RANK
from adaptertune_deploy.train.run import Run

# Ranks that are tried at most, by the trainings that one costs: what a run with a given rank costs, two and a half
# times at most.
MOST_TRIED = {AUTO: {1: 4, 2: 4}, AUTO_FAST: {1: 3}}
MOST_TRIED_OF_MANY_FOLDS = 3


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

    Args:
        run: the training images and the recipe, whose search says how many ranks may be tried.
        frozen: of all training images.
        probe: the careful probe, which is rank 0.
        fold: [images] the fold that holds each image out, -1 for images that always train.
        seed: of the adapters' trainings, the same for every rank: order and augmentation too.
    """
    started = time.perf_counter()
    held, folds = np.flatnonzero(fold >= 0), int(fold.max()) + 1
    if len(held) < FEWEST_IMAGES:
        choice = RankChoice(run.recipe.search, USUAL_RANK, folds, len(held), (), (), 0.0)
        return Found(choice, untried(folds, len(held)))
    targets = frozen.targets[held]
    weights = None if frozen.weights is None else frozen.weights[held]
    answers: dict[int, Array] = {rule.HEAD_ONLY: head_answers(run, frozen, probe, fold)[held]}
    losses: dict[int, Losses] = {rule.HEAD_ONLY: compared_losses(answers[rule.HEAD_ONLY], targets, weights)}
    most = MOST_TRIED[run.recipe.search].get(folds, MOST_TRIED_OF_MANY_FOLDS)
    while (rank := rule.following(losses, most)) is not None:
        candidate = run.with_rank(rank)
        answers[rank] = adapter_answers(candidate, frozen, probe, fold, seed, f"rank {rank}, ")[held]
        losses[rank] = compared_losses(answers[rank], targets, weights)
    picked = rule.pick(losses)
    shown = picked or min((rank for rank in losses if rank), key=lambda rank: float(losses[rank].mean()))
    tried = tuple(
        TriedRank(rank, float(losses[rank].mean()), _top1(answers[rank], targets), above, error)
        for rank, (above, error) in rule.to_best(losses).items()
    )
    seconds = time.perf_counter() - started
    choice = RankChoice(run.recipe.search, picked, folds, len(held), tried, rule.within(losses), seconds)
    return Found(choice, compare(answers[rule.HEAD_ONLY], answers[shown], targets, folds, weights))


def _top1(logits: Array, targets: Targets) -> float:
    return float((logits.argmax(axis=1) == targets).mean())
