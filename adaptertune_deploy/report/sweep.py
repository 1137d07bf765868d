"""A sweep over ranks: accuracy on test images with the spread over seeds, the loss out of fold, and bytes below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from adaptertune_deploy.report.canvas import OTHER, QUIET, SHIPS, folded, picture

TITLE_WIDTH = 86
KILOBYTE = 1_000


@dataclass(frozen=True)
class SweptPoint:
    """One rank.

    rank: 0 is the head alone.
    bytes: of its tensors.
    top1: on the test images, 0..1, one a seed.
    loss, error: out of fold in nats, and the standard error of its difference to the best; None where not compared.
    """

    rank: int
    bytes: int
    top1: tuple[float, ...]
    loss: float | None
    error: float | None


def draw_sweep(
    points: Sequence[SweptPoint],
    enough: int | None,
    title: str,
    nested: Sequence[SweptPoint] = (),
    full: Sequence[SweptPoint] = (),
) -> bytes:
    """Return the picture as PNG.

    Args:
        points: ranks ascending, 0 first, at least two.
        enough: the rank that is marked.
        title: printed above.
        nested: nested adapters at ranks of `points`; those at others are not drawn.
        full: full fine-tuning, none or one.
    """
    head, adapters = points[0], points[1:]
    places = {point.rank: place for place, point in enumerate(adapters, 1)}

    def draw(figure: Any) -> None:
        accuracy, loss, size = figure.subplots(3, sharex=True, height_ratios=(3, 2, 1))
        _seeds(accuracy, adapters)
        _nested(accuracy, loss, [(places[point.rank], point) for point in nested if point.rank in places])
        for one in full:
            _full(accuracy, loss, one)
        _level(accuracy, 100 * head.top1[0], "--", "head alone", len(adapters), "right")
        accuracy.set_ylabel("top-1, test images (%)")
        accuracy.set_title(folded(title, TITLE_WIDTH), loc="left")
        _losses(loss, head, adapters)
        _sizes(size, adapters)
        if enough in places:
            _mark(accuracy, size, places[enough], adapters[places[enough] - 1])
        for axes in (accuracy, loss, size):
            axes.grid(axis="y", color="0.92")
            axes.set_axisbelow(True)
            axes.margins(x=0.06)

    return picture((7.0, 6.4), draw)


def _percents(point: SweptPoint) -> list[float]:
    """Return the accuracy of each seed."""
    return [100 * value for value in point.top1]


def _seeds(axes: Any, adapters: Sequence[SweptPoint]) -> None:
    """Draw every seed's accuracy, their range and their mean, ranks at places 1, 2, ..."""
    places = list(range(1, len(adapters) + 1))
    for place, point in zip(places, adapters, strict=True):
        axes.plot([place] * len(point.top1), _percents(point), ".", color=QUIET, ms=7)
    low, high = ([edge(_percents(point)) for point in adapters] for edge in (min, max))
    axes.fill_between(places, low, high, color=QUIET, alpha=0.35, lw=0)
    axes.plot(places, [100 * fmean(point.top1) for point in adapters], "o-", color=OTHER, ms=4, lw=1.4)


def _nested(accuracy: Any, loss: Any, placed: Sequence[tuple[int, SweptPoint]]) -> None:
    """Draw nested adapters, each at its place."""
    if not placed:
        return
    at, heights = [place for place, _ in placed], [100 * fmean(point.top1) for _, point in placed]
    accuracy.plot(at, heights, "s:", color=OTHER, ms=4, lw=1.2, mfc="white", label="nested, one training")
    accuracy.legend(loc="lower right", frameon=False)
    if all(point.loss is not None for _, point in placed):
        loss.plot(at, [point.loss for _, point in placed], "s:", color=OTHER, ms=4, lw=1.2, mfc="white")


def _full(accuracy: Any, loss: Any, one: SweptPoint) -> None:
    """Draw full fine-tuning, which has no rank, as a level."""
    _level(accuracy, 100 * fmean(one.top1), "-.", "full fine-tuning", 1, "left")
    if one.loss is not None:
        loss.axhline(one.loss, color=OTHER, lw=1, ls="-.")


def _level(axes: Any, height: float, line: str, words: str, place: int, side: str) -> None:
    """Draw a level with words on it that begin ("left") or end ("right") at a place."""
    axes.axhline(height, color=OTHER, lw=1, ls=line)
    axes.annotate(words, (place, height), textcoords="offset points", xytext=(0, 3), ha=side, color=OTHER)


def _losses(axes: Any, head: SweptPoint, adapters: Sequence[SweptPoint]) -> None:
    """Draw the losses out of fold, of the ranks that have one."""
    known = [(place, point) for place, point in enumerate(adapters, 1) if point.loss is not None]
    if known and head.loss is not None:
        errors = [point.error or 0.0 for _, point in known]
        values = [point.loss or 0.0 for _, point in known]
        axes.errorbar([place for place, _ in known], values, yerr=errors, fmt="o-", color=OTHER, ms=4, capsize=3)
        axes.axhline(head.loss, color=OTHER, lw=1, ls="--")
    axes.set_ylabel("loss out of\nfold (nats)")


def _sizes(axes: Any, adapters: Sequence[SweptPoint]) -> None:
    """Draw what each rank takes, and name the ranks below."""
    places = list(range(1, len(adapters) + 1))
    axes.bar(places, [point.bytes / KILOBYTE for point in adapters], color=QUIET, width=0.5)
    axes.set_ylabel("kB")
    axes.set_xticks(places, [str(point.rank) for point in adapters])
    axes.set_xlabel("rank")


def _mark(accuracy: Any, size: Any, place: int, point: SweptPoint) -> None:
    """Mark the rank that is enough."""
    accuracy.plot([place], [100 * fmean(point.top1)], "o", color=SHIPS, ms=9)
    size.bar([place], [point.bytes / KILOBYTE], color=SHIPS, width=0.5)
