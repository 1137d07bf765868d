"""Candidates side by side, one fact a row: what a person reads on the terminal and in the model card."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from adaptertune_deploy.core.adapter.cutting import FLOAT32
from adaptertune_deploy.core.adapter.nested import WidthMeasure
from adaptertune_deploy.core.answers.significance import wilson
from adaptertune_deploy.train.outcome.measured import Measure, NestedWidth

# With fewer classes the five best answers hold the right one almost by themselves.
FEWEST_CLASSES_FOR_TOP5 = 11
LONGEST_LABEL = 16
WIDTH_COLUMNS = ("rank", "numbers", "size", "top-1 out of fold", "loss", "to the full rank", "test top-1")

Row = tuple[str, ...]


def score_rows(measures: Sequence[Measure], labels: Sequence[str], frozen: int | None = None) -> list[Row]:
    """Return one row a fact: its name, then each candidate's value as text.

    Args:
        measures: the candidates, on the same images.
        labels: one a class.
        frozen: number of the backbone's parameters; None leaves the task's own out.
    """
    facts: dict[str, Callable[[Measure], str]] = {
        "right": lambda one: f"{hits(one):,} of {one.scores.images:,}",
        "top-1": lambda one: percent(one.scores.top1),
        "95 % interval": lambda one: bounds(*wilson(hits(one), one.scores.images)),
        "top-5": lambda one: percent(one.scores.top5),
        "balanced accuracy": lambda one: percent(one.scores.balanced),
        "worst class": lambda one: worst(one, labels),
        "temperature": lambda one: f"{one.calibration.temperature:.2f}",
        "loss": lambda one: _calibrated(one.calibration.loss_after, one.calibration.loss_before),
        "calibration error": lambda one: _calibrated(one.calibration.error_after, one.calibration.error_before),
    }
    if frozen is not None:
        facts["parameters"] = lambda one: f"{one.parameters:,} ({one.parameters / frozen:.2%})".replace("%", " %")
    if len(labels) < FEWEST_CLASSES_FOR_TOP5:
        del facts["top-5"]
    return [(name, *(value(one) for one in measures)) for name, value in facts.items()]


def width_rows(widths: Sequence[NestedWidth]) -> list[Row]:
    """Return one row a width of nested adapters, WIDTH_COLUMNS."""
    return [
        (
            str(width.record.rank),
            f"{width.test.parameters:,}",
            f"{FLOAT32 * width.test.parameters / 1000:,.1f} kB",
            *_out_of_fold(width.record.measure),
            percent(width.test.scores.top1),
        )
        for width in widths
    ]


def _out_of_fold(one: WidthMeasure | None) -> Row:
    if one is None:
        return ("", "", "")
    return (percent(one.top1), f"{one.loss:.3f}", f"{one.above:+.3f} ± {one.error:.3f}" if one.error else "")


def hits(measure: Measure) -> int:
    """Return the number of right answers."""
    return int(measure.scores.hits.sum())


def percent(share: float) -> str:
    """Return a share as text: "85.1 %"."""
    return f"{100 * share:.1f} %"


def bounds(low: float, high: float) -> str:
    """Return an interval of shares as text: "75.3 .. 91.5 %"."""
    return f"{100 * low:.1f} .. {100 * high:.1f} %"


def worst(measure: Measure, labels: Sequence[str]) -> str:
    """Return the class of lowest accuracy with its counts, "2 of 9: oak", or how many share it, "0.0 %: 3 classes"."""
    scores = measure.scores
    index = scores.worst_class
    alike = int((scores.per_class == scores.per_class[index]).sum())
    if alike > 1:
        which = "all" if alike == np.isfinite(scores.per_class).sum() else f"{alike:,}"
        return f"{percent(scores.per_class[index])}: {which} classes"
    label = " ".join(labels[index].split())
    label = label if len(label) <= LONGEST_LABEL else f"{label[: LONGEST_LABEL - 3]}..."
    return f"{scores.confusion[index, index]:,} of {scores.class_images[index]:,}: {label}"


def _calibrated(after: float, before: float) -> str:
    """Return a value with the temperature, and the one without it where they differ."""
    return f"{after:.3f}" if f"{before:.3f}" == f"{after:.3f}" else f"{after:.3f} ({before:.3f} before)"
