"""The training curve: loss by step, and the learning rate below it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from adaptertune_deploy.report.canvas import OTHER, SHIPS, picture

MOST_MARKED_POINTS = 60


@dataclass(frozen=True)
class Point:
    """One point of a training curve.

    step: from 1.
    loss: training loss in nats, over the steps since the last point.
    lr: learning rate.
    """

    step: int
    loss: float
    lr: float


def draw_curves(points: Sequence[Point], title: str) -> bytes:
    """Return the picture as PNG.

    Args:
        points: at least one, steps ascending.
        title: printed above.
    """
    steps = [point.step for point in points]
    marker = "o" if len(points) <= MOST_MARKED_POINTS else None

    def draw(figure: Any) -> None:
        above, below = figure.subplots(2, sharex=True, height_ratios=(3, 1))
        above.plot(steps, [point.loss for point in points], color=SHIPS, marker=marker, ms=3, lw=1.4)
        above.set_title(title, loc="left")
        above.set_ylabel("training loss (nats)")
        above.set_ylim(0, 1.08 * max(1e-9, *(point.loss for point in points)))
        below.plot(steps, [point.lr for point in points], color=OTHER, marker=marker, ms=3, lw=1.4)
        below.set(xlabel="step", ylabel="learning rate", ylim=(0, None))
        below.set_xlim(0, 1.03 * steps[-1])
        below.ticklabel_format(axis="y", style="plain")
        below.xaxis.get_major_locator().set_params(integer=True)
        for axes in (above, below):
            axes.grid(axis="y", color="0.92")
            axes.set_axisbelow(True)

    return picture((7.0, 4.6), draw)
