"""What every width of nested adapters is worth: out of fold for the record, on the test images for the report."""

from __future__ import annotations

from adaptertune_deploy.core.adapter.nested import WidthMeasure, WidthRecord
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.data.samples import Targets
from adaptertune_deploy.model.nested import narrowed
from adaptertune_deploy.train.comparison.candidates import Adapted, Frozen
from adaptertune_deploy.train.comparison.crossfit import answers_at, head_answers
from adaptertune_deploy.train.comparison.gate import FEWEST_IMAGES, compare, judged, untried
from adaptertune_deploy.train.comparison.measuring import measure
from adaptertune_deploy.train.evaluation.evaluate import outputs
from adaptertune_deploy.train.outcome.measured import Gate, Measure, NestedWidth
from adaptertune_deploy.train.probe.head import Weights
from adaptertune_deploy.train.probe.probe import Folds, Probe
from adaptertune_deploy.train.rank import rule
from adaptertune_deploy.train.request.recipe import nested_widths
from adaptertune_deploy.train.run import Run


def cross_validate_widths(
    run: Run, frozen: Frozen, probe: Probe, fold: Folds, seed: int
) -> tuple[Gate, tuple[WidthRecord, ...]]:
    """Train nested adapters once a fold, and let them answer the fold's images at every width.

    Args:
        run: the training images and the recipe.
        frozen: see crossfit.cross_validate, as the others.
        probe: see there.
        fold: see there.
        seed: see there.

    Returns:
        The gate, which compares the full width with the head alone, and every width.
    """
    ranks = nested_widths(run.task.adapter.rank)
    held, folds = run.judged(fold), int(fold.max()) + 1
    if len(held) < FEWEST_IMAGES:
        return untried(folds, len(held)), tuple(WidthRecord(rank, 1.0) for rank in ranks)
    head = head_answers(run, frozen, probe, fold)
    answers = {rank: found[held] for rank, found in answers_at(ranks, run, frozen, probe, fold, seed).items()}
    targets, weights = frozen.targets[held], None if frozen.weights is None else frozen.weights[held]
    gate = compare(head[held], answers[ranks[-1]], targets, folds, weights)
    return gate, compare_widths(answers, targets, weights)


def compare_widths(
    answers: dict[int, Array], targets: Targets, weights: Weights | None = None
) -> tuple[WidthRecord, ...]:
    """Return what each width is worth against the full one, image by image.

    Args:
        answers: width, ascending -> out-of-fold logits [images, classes].
        targets: [images] class indices.
        weights: [images] how much each image counts; None counts them alike.
    """
    worth = {rank: judged(logits, targets, weights) for rank, logits in answers.items()}
    full = worth[max(worth)][1]
    found = []
    for rank, (one, losses) in worth.items():
        found.append(
            WidthRecord(
                rank, one.temperature, WidthMeasure(len(targets), one.loss, one.top1, *rule.difference(losses, full))
            )
        )
    return tuple(found)


def measure_widths(
    run: Run, adapted: Adapted, widths: tuple[WidthRecord, ...], full: Measure
) -> tuple[NestedWidth, ...]:
    """Return every width on the test images.

    Args:
        run: the test images.
        adapted: nested adapters and head of all training images.
        widths: see cross_validate_widths.
        full: the full width on the test images.
    """
    return tuple(NestedWidth(width, full if width is widths[-1] else _measure(run, adapted, width)) for width in widths)


def _measure(run: Run, adapted: Adapted, width: WidthRecord) -> Measure:
    model = narrowed(run.backbone, adapted.model, width.rank)
    logits, targets = outputs(model, run.test_images(), run.exact, f"test adapter at rank {width.rank}", run.progress)
    return measure(logits, targets, width.temperature, sum(value.numel() for value in model.trainable().values()))
