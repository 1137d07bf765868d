"""Both candidates' answers to images that they were not trained on, fold by fold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.model.nested import narrowed
from adaptertune_deploy.train.comparison.candidates import Frozen, fit_adapters
from adaptertune_deploy.train.comparison.gate import FEWEST_IMAGES, compare, untried
from adaptertune_deploy.train.evaluation.evaluate import outputs
from adaptertune_deploy.train.outcome.measured import Gate
from adaptertune_deploy.train.probe.probe import Folds, Probe, out_of_fold
from adaptertune_deploy.train.run import Run

# Folds by the number of training images: each costs a training, and with many images the standard error is small
# enough after one.
MANY_FOLDS_BELOW, FOLDS_BELOW = 500, 3_000


def usual_folds(images: int) -> int:
    """Return the number of folds that suits so many training images; 1 is one split."""
    if images < MANY_FOLDS_BELOW:
        return 3
    return 2 if images < FOLDS_BELOW else 1


def cross_validate(run: Run, frozen: Frozen, probe: Probe, fold: Folds, seed: int) -> Gate:
    """Train the adapter candidate once a fold, let both candidates answer the fold's images, and compare.

    Args:
        run: the training images and the recipe.
        frozen: of all training images.
        probe: the careful probe, whose penalty every fold's probe has.
        fold: [images] the fold that holds each image out, -1 for images that always train.
        seed: of the adapters' trainings.
    """
    held = run.judged(fold)
    folds = int(fold.max()) + 1
    if len(held) < FEWEST_IMAGES:
        return untried(folds, len(held))
    head = head_answers(run, frozen, probe, fold)
    adapter = adapter_answers(run, frozen, probe, fold, seed)
    weights = None if frozen.weights is None else frozen.weights[held]
    return compare(head[held], adapter[held], frozen.targets[held], folds, weights)


def head_answers(run: Run, frozen: Frozen, probe: Probe, fold: Folds) -> Array:
    """Return logits [images, classes] of probes that were fitted on the other folds; NaN where no fold holds out."""
    classes = len(run.task.labels)
    return out_of_fold(frozen.features, frozen.targets, classes, fold, probe.head.penalty, frozen.weights)


def adapter_answers(run: Run, frozen: Frozen, probe: Probe, fold: Folds, seed: int, what: str = "") -> Array:
    """Return logits [images, classes] of adapters that were trained on the other folds; NaN where no fold holds out.

    Args:
        run: see cross_validate, as the others.
        frozen: see there.
        probe: see there.
        fold: see there.
        seed: see there.
        what: put before the names of the trainings.
    """
    rank = run.task.adapter.rank
    return answers_at((rank,), run, frozen, probe, fold, seed, what)[rank]


def answers_at(
    ranks: Sequence[int], run: Run, frozen: Frozen, probe: Probe, fold: Folds, seed: int, what: str = ""
) -> dict[int, Array]:
    """Return the logits of adapter_answers at several ranks, to which the adapters of each fold are cut.

    Args:
        ranks: up to that of the run's adapters.
        run: see adapter_answers, as the others.
        frozen: see there.
        probe: see there.
        fold: see there.
        seed: see there.
        what: see there.
    """
    answers = {rank: np.full((len(fold), len(run.task.labels)), np.nan, dtype=np.float32) for rank in ranks}
    folds, own = int(fold.max()) + 1, run.task.adapter.rank
    for number in range(folds):
        name = what + (f"fold {number + 1} of {folds}" if folds > 1 else "comparison")
        adapted = fit_adapters(run, frozen, probe, np.flatnonzero(fold != number), seed, name)
        loader = run.training_images(np.flatnonzero(fold == number))
        for rank in ranks:
            model = adapted.model if rank == own else narrowed(run.backbone, adapted.model, rank)
            said = f"{name}, answers" if len(ranks) == 1 else f"{name}, answers at rank {rank}"
            answers[rank][fold == number] = outputs(model, loader, run.exact, said, run.progress)[0]
    return answers
