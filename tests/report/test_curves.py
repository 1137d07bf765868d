from __future__ import annotations

import io
from typing import Any

import pytest
from matplotlib.figure import Figure
from PIL import Image

from adaptertune_deploy.report import curves
from adaptertune_deploy.report.curves import Point, draw_curves

POINTS = [Point(10, 1.2, 0.003), Point(20, 0.6, 0.006), Point(30, 0.5, 0.0)]


def drawn(monkeypatch: pytest.MonkeyPatch, points: list[Point]) -> Figure:
    """Return the figure in place of its picture."""
    figure = Figure()
    monkeypatch.setattr(curves, "picture", lambda size, draw: draw(figure))
    draw_curves(points, "title")
    return figure


def test_loss_and_rate_are_drawn_over_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    above, below = drawn(monkeypatch, POINTS).axes
    line, rate = above.lines[0], below.lines[0]
    assert (list(line.get_xdata()), list(line.get_ydata())) == ([10, 20, 30], [1.2, 0.6, 0.5])
    assert (list(rate.get_xdata()), list(rate.get_ydata())) == ([10, 20, 30], [0.003, 0.006, 0.0])
    assert above.get_ylim()[0] == 0  # a cut axis would make a small fall look large
    assert above.get_title(loc="left") == "title"


def test_points_are_marked_only_where_they_can_be_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    def marker(points: list[Point]) -> Any:
        return drawn(monkeypatch, points).axes[0].lines[0].get_marker()

    assert marker(POINTS) == "o"
    assert marker([Point(step, 1.0, 0.1) for step in range(1, 400)]) == "None"


@pytest.mark.parametrize("points", [POINTS[:1], [Point(1, 0.0, 0.0)], POINTS])
def test_a_picture_comes_of_any_curve(points: list[Point]) -> None:
    with Image.open(io.BytesIO(draw_curves(points, "title"))) as image:
        assert image.size == (770, 506)
