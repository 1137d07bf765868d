from __future__ import annotations

import io

import pytest
from matplotlib.figure import Figure
from PIL import Image

from adaptertune_deploy.report import models
from adaptertune_deploy.report.canvas import OTHER, SHIPS
from adaptertune_deploy.report.models import Line, draw_models

ONE = Line("one backbone", True, 0, (1, 10), ((19, 20, 22), (20, 21, 23)), (100, 104))
MANY = Line("N models", False, 0, (1, 10), ((9, 10, 11), (80, 90, 99)), (60, None))


def drawn(monkeypatch: pytest.MonkeyPatch, lines: list[Line]) -> Figure:
    """Return the figure in place of its picture."""
    figure = Figure(layout="constrained")
    monkeypatch.setattr(models, "picture", lambda size, draw: draw(figure))
    draw_models(lines, "title", 8)
    return figure


def test_time_and_memory_are_drawn_over_the_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    left, right = drawn(monkeypatch, [ONE, MANY]).axes
    times = {line.get_label(): line for line in left.lines}
    assert list(times["N models"].get_xdata()) == [1, 10]
    assert list(times["N models"].get_ydata()) == [10, 90]
    assert (times["one backbone"].get_color(), times["N models"].get_color()) == (SHIPS, OTHER)
    assert [list(line.get_ydata()) for line in right.lines] == [[100, 104], [60]]  # what was not measured is left out
    assert left.get_ylim()[0] == right.get_ylim()[0] == 0  # a cut axis would make a small gain look large
    assert left.get_title(loc="left") == "ms for a run of 8 rows of mixed tasks"
    assert [label.get_text() for label in left.get_xticklabels()] == ["1", "10"]


def test_ways_are_told_apart_where_one_number_of_tasks_alone_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [Line(f"way {style}", True, style, (1, 10), ONE.milliseconds, (100 + style, None)) for style in range(4)]
    left, right = drawn(monkeypatch, lines).axes
    assert len({line.get_marker() for line in right.lines}) == 4
    assert [line.get_marker() for line in left.lines] == [line.get_marker() for line in right.lines]
    assert left.get_xlim() == right.get_xlim()


def test_every_line_is_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    (legend,) = drawn(monkeypatch, [ONE, MANY]).legends
    assert [text.get_text() for text in legend.get_texts()] == ["one backbone", "N models"]


@pytest.mark.parametrize(
    "lines", [[ONE], [MANY], [ONE, MANY] * 4, [Line("$x_{", True, 5, (1,), ((1, 1, 1),), (None,))]]
)
def test_a_picture_comes_of_any_lines(lines: list[Line]) -> None:
    with Image.open(io.BytesIO(draw_models(lines, "a long title " * 20, 1))) as image:
        assert image.width == 990
