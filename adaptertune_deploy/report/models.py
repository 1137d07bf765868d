"""N models against one backbone: milliseconds and megabytes against the number of tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from adaptertune_deploy.report.canvas import OTHER, SHIPS, folded, picture

WIDTH, HEIGHT = 9.0, 4.2
TITLE_CHARACTERS = 110
STYLES = ("-", "--", ":", "-.")
MARKERS = ("o", "s", "^", "D")  # for numbers of tasks at which one way alone was measured, and no line is drawn


@dataclass(frozen=True)
class Line:
    """One way to serve tasks.

    name: "one backbone, fp32 on onnxruntime".
    one: whether all tasks share one backbone; else each has a model of its own.
    style: which of the line styles; ways that differ only in `one` have the same.
    tasks: numbers of tasks, ascending, at least one.
    milliseconds: of one run, median and quartiles (low, median, high), for each number of tasks.
    megabytes: of a process, for each number of tasks; None where it was not measured.
    """

    name: str
    one: bool
    style: int
    tasks: tuple[int, ...]
    milliseconds: tuple[tuple[float, float, float], ...]
    megabytes: tuple[float | None, ...]


def draw_models(lines: Sequence[Line], title: str, batch: int) -> bytes:
    """Return the picture as PNG.

    Args:
        lines: at least one.
        title: printed above.
        batch: rows of a run.
    """
    heading = folded(title, TITLE_CHARACTERS)

    def draw(figure: Any) -> None:
        left, right = figure.subplots(1, 2)
        figure.suptitle(heading, x=0.01, ha="left", fontsize=10)
        for line in lines:
            _plot(left, right, line)
        rows = f"{batch} rows" if batch > 1 else "1 row"
        _finish(left, lines, f"ms for a run of {rows} of mixed tasks")
        _finish(right, lines, "MB of a process (10⁶ bytes)")
        handles, names = left.get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower left", ncols=2, frameon=False)

    legend = 0.2 * ((len(lines) + 1) // 2)
    return picture((WIDTH, HEIGHT + legend + 0.16 * heading.count("\n")), draw)


def _plot(left: Any, right: Any, line: Line) -> None:
    colour, style = (SHIPS if line.one else OTHER), STYLES[line.style % len(STYLES)]
    drawn = {"color": colour, "marker": MARKERS[line.style % len(MARKERS)], "ms": 4, "lw": 1.6}
    low, median, high = zip(*line.milliseconds, strict=True)
    left.plot(line.tasks, median, style, label=line.name, **drawn)
    left.fill_between(line.tasks, low, high, color=colour, alpha=0.15, lw=0)
    there = [(tasks, size) for tasks, size in zip(line.tasks, line.megabytes, strict=True) if size is not None]
    if there:
        right.plot(*zip(*there, strict=True), style, **drawn)


def _finish(axes: Any, lines: Sequence[Line], name: str) -> None:
    counts = sorted({tasks for line in lines for tasks in line.tasks})
    axes.set_xscale("log")
    axes.set_xlim(0.8 * counts[0], 1.25 * counts[-1])  # the same in both panels, whatever was measured
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.minorticks_off()
    axes.set_xlabel("tasks")
    axes.set_title(name, loc="left")
    axes.set_ylim(0, None)
    axes.grid(axis="y", color="0.92")
    axes.set_axisbelow(True)
