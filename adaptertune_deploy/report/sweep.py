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
    places = list(range(1, len(points)))
    head, adapters = points[0], points[1:]
    names = [str(point.rank) for point in adapters]
    marked = [place for place, point in zip(places, adapters, strict=True) if point.rank == enough]

    def draw(figure: Any) -> None:
        accuracy, loss, size = figure.subplots(3, sharex=True, height_ratios=(3, 2, 1))
        means = [100 * fmean(point.top1) for point in adapters]
        for place, point in zip(places, adapters, strict=True):
            accuracy.plot([place] * len(point.top1), [100 * value for value in point.top1], ".", color=QUIET, ms=7)
        accuracy.fill_between(
            places,
            [100 * min(point.top1) for point in adapters],
            [100 * max(point.top1) for point in adapters],
            color=QUIET,
            alpha=0.35,
            lw=0,
        )
        accuracy.plot(places, means, "o-", color=OTHER, ms=4, lw=1.4)
        cut = [(names.index(str(point.rank)) + 1, point) for point in nested if str(point.rank) in names]
        if cut:
            at, heights = [place for place, _ in cut], [100 * fmean(point.top1) for _, point in cut]
            accuracy.plot(at, heights, "s:", color=OTHER, ms=4, lw=1.2, mfc="white", label="nested, one training")
            accuracy.legend(loc="lower right", frameon=False)
            if all(point.loss is not None for _, point in cut):
                loss.plot(at, [point.loss for _, point in cut], "s:", color=OTHER, ms=4, lw=1.2, mfc="white")
        for one in full:
            mean = 100 * fmean(one.top1)
            accuracy.axhline(mean, color=OTHER, lw=1, ls="-.")
            accuracy.annotate(
                "full fine-tuning", (places[0], mean), textcoords="offset points", xytext=(0, 3), ha="left", color=OTHER
            )
            if one.loss is not None:
                loss.axhline(one.loss, color=OTHER, lw=1, ls="-.")
        accuracy.axhline(100 * head.top1[0], color=OTHER, lw=1, ls="--")
        accuracy.annotate(
            "head alone",
            (places[-1], 100 * head.top1[0]),
            textcoords="offset points",
            xytext=(0, 3),
            ha="right",
            color=OTHER,
        )
        accuracy.set_ylabel("top-1, test images (%)")
        accuracy.set_title(folded(title, TITLE_WIDTH), loc="left")
        known = [(place, point) for place, point in zip(places, adapters, strict=True) if point.loss is not None]
        if known and head.loss is not None:
            errors = [point.error or 0.0 for _, point in known]
            values = [point.loss or 0.0 for _, point in known]
            loss.errorbar([place for place, _ in known], values, yerr=errors, fmt="o-", color=OTHER, ms=4, capsize=3)
            loss.axhline(head.loss, color=OTHER, lw=1, ls="--")
        loss.set_ylabel("loss out of\nfold (nats)")
        size.bar(places, [point.bytes / KILOBYTE for point in adapters], color=QUIET, width=0.5)
        size.set_ylabel("kB")
        size.set_xticks(places, names)
        size.set_xlabel("rank")
        for place in marked:
            accuracy.plot([place], [means[place - 1]], "o", color=SHIPS, ms=9)
            size.bar([place], [adapters[place - 1].bytes / KILOBYTE], color=SHIPS, width=0.5)
        for axes in (accuracy, loss, size):
            axes.grid(axis="y", color="0.92")
            axes.set_axisbelow(True)
            axes.margins(x=0.06)

    return picture((7.0, 6.4), draw)
