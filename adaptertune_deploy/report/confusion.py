"""Which class is taken for which: a matrix, with names where they can be read, and the pairs most often confused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from adaptertune_deploy.report.canvas import folded, picture, short

# Above this many classes a matrix can't hold every name, above that many it can't hold every count.
MOST_NAMED, MOST_COUNTED = 40, 15
# With fewer classes the matrix itself shows every pair.
FEWEST_FOR_PAIRS, MOST_PAIRS = 16, 20
UNNAMED_INCHES = 6.0
CHARACTERS_AN_INCH = 12

Counts = npt.NDArray[np.int64]


def draw_confusion(counts: Counts, labels: Sequence[str], title: str) -> bytes:
    """Return the picture as PNG.

    Args:
        counts: int64 [true class, answered class].
        labels: one a class.
        title: printed above.
    """
    names = [short(label) for label in labels]
    pairs = most_confused(counts) if len(labels) >= FEWEST_FOR_PAIRS else ()
    named = len(labels) <= MOST_NAMED
    side = max(4.0, 2.0 + (0.24 if len(labels) <= MOST_COUNTED else 0.17) * len(labels)) if named else UNNAMED_INCHES
    room = 3.8 if pairs else 0.0
    width = side + 0.6 + room

    def draw(figure: Any) -> None:
        figure.suptitle(folded(title, int(CHARACTERS_AN_INCH * width)), x=0.01, ha="left", fontsize=10)
        if not pairs:
            _matrix(figure.add_subplot(), counts, names, named)
            return
        left, right = figure.subplots(1, 2, width_ratios=(side, room))
        _matrix(left, counts, names, named)
        _list(right, pairs, counts, names)

    return picture((width, side), draw)


def most_confused(counts: Counts, most: int = MOST_PAIRS) -> tuple[tuple[int, int], ...]:
    """Return (true, answered) of the wrong answers, the most frequent first, equal ones in the order of the classes."""
    wrong = counts - np.diag(counts.diagonal())
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    rows, columns = np.unravel_index(order, wrong.shape)
    return tuple((int(row), int(column)) for row, column in zip(rows, columns, strict=True) if wrong[row, column])


def _matrix(axes: Any, counts: Counts, names: Sequence[str], named: bool) -> None:
    from matplotlib.colors import PowerNorm

    shares = counts / counts.sum(axis=1, keepdims=True).clip(1)
    axes.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, 0, 1))  # a few images must be seen beside a full row
    axes.set(xlabel="answered", ylabel="true class")
    axes.spines[["top", "right"]].set_visible(True)
    if not named:
        axes.set(xlabel="answered, classes in the order of the labels")
        return
    size = 9 if len(names) <= MOST_COUNTED else 7
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=size)
    axes.set_yticks(range(len(names)), names, fontsize=size)
    if len(names) <= MOST_COUNTED:
        for row, column in zip(*counts.nonzero(), strict=True):
            colour = "white" if shares[row, column] > 0.3 else "black"
            axes.text(column, row, f"{counts[row, column]:,}", ha="center", va="center", color=colour, fontsize=8)


def _list(axes: Any, pairs: Sequence[tuple[int, int]], counts: Counts, names: Sequence[str]) -> None:
    """Write the pairs as lines of text, with how many of the true class's images each takes."""
    axes.axis("off")
    axes.set_title("most often confused: true → answered", loc="left", fontsize=9)
    lines = [
        f"{counts[true, answered]:,} of {counts[true].sum():,}  {names[true]} → {names[answered]}"
        for true, answered in pairs
    ]
    axes.text(0, 0.99, "\n".join(lines), va="top", fontsize=8, linespacing=1.5, transform=axes.transAxes)
