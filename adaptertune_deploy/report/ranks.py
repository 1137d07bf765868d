"""The ranks that a search tried: loss with its standard error above, accuracy below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from adaptertune_deploy.report.canvas import OTHER, QUIET, SHIPS, folded, picture

TITLE_WIDTH = 86


@dataclass(frozen=True)
class RankPoint:
    """One rank.

    rank: 0 is the head alone.
    loss: out-of-fold loss in nats.
    above, error: by how much it lies above the best rank's, image by image, and that difference's standard error.
    top1: out-of-fold accuracy, 0..1.
    """

    rank: int
    loss: float
    above: float
    error: float
    top1: float


def draw_ranks(points: Sequence[RankPoint], picked: int, title: str) -> bytes:
    """Return the picture as PNG.

    Args:
        points: ranks ascending, at least two.
        picked: the rank that was taken.
        title: printed above.
    """
    places = list(range(len(points)))
    losses, errors = [point.loss for point in points], [point.error for point in points]
    chosen = [point.rank for point in points].index(picked)

    def draw(figure: Any) -> None:
        above, below = figure.subplots(2, sharex=True, height_ratios=(2, 1))
        above.plot(places, losses, color=QUIET, lw=1.2, zorder=1)
        above.errorbar(places, losses, yerr=errors, fmt="o", color=OTHER, ms=5, capsize=3, lw=1, zorder=2)
        above.plot([chosen], [losses[chosen]], "o", color=SHIPS, ms=9, zorder=3)
        above.axhline(min(losses), color=QUIET, lw=0.8, ls=":")
        above.set_ylabel("loss out of fold (nats)\n± standard error to the best")
        above.set_title(folded(title, TITLE_WIDTH), loc="left")
        below.plot(places, [100 * point.top1 for point in points], "o-", color=OTHER, ms=4, lw=1.2)
        below.plot([chosen], [100 * points[chosen].top1], "o", color=SHIPS, ms=8)
        below.set_ylabel("top-1 out of fold (%)")
        below.set_xticks(places, [str(point.rank) if point.rank else "0\n(head)" for point in points])
        below.set_xlabel("rank")
        for axes in (above, below):
            axes.grid(axis="y", color="0.92")
            axes.set_axisbelow(True)
            axes.margins(x=0.06)

    return picture((7.0, 5.0), draw)
