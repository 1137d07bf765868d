from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from adaptertune_deploy.core.answers.significance import wilson
from adaptertune_deploy.report import accuracy
from adaptertune_deploy.report.accuracy import Candidate, Gain, draw_accuracy
from adaptertune_deploy.report.canvas import OTHER, SHIPS

HEAD = Candidate("head alone", 26, 30, True)
ADAPTER = Candidate("adapter + head", 28, 30, False, (0.9, 0.95))
GAIN = Gain(0.021, 0.018, 2.0, "259 images out of fold")


def drawn(monkeypatch: pytest.MonkeyPatch, candidates: list[Candidate], gain: Gain | None) -> Figure:
    """Return the figure in place of its picture."""
    figure = Figure()
    monkeypatch.setattr(accuracy, "picture", lambda size, draw: draw(figure))
    draw_accuracy(candidates, gain, "the head alone ships", ["4 images better, 2 worse"])
    return figure


def test_candidates_are_points_with_intervals_and_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    figure = drawn(monkeypatch, [HEAD, ADAPTER], GAIN)
    above = figure.axes[0]
    bar, point, seeds = above.lines[:3]
    np.testing.assert_allclose(bar.get_xdata(), [100 * bound for bound in wilson(26, 30)])
    assert (point.get_xdata()[0], point.get_color()) == (100 * 26 / 30, SHIPS)
    assert len(seeds.get_xdata()) == 0
    assert list(above.lines[5].get_xdata()) == [90.0, 95.0]
    assert above.lines[4].get_color() == OTHER
    assert [text.get_text() for text in above.texts] == ["26 of 30 = 86.7 %", "28 of 30 = 93.3 %"]
    assert [tick.get_text() for tick in above.get_yticklabels()] == ["head alone (ships)", "adapter + head"]
    assert "small dots: further seeds" in above.get_xlabel()


def test_every_mark_lies_within_its_axes(monkeypatch: pytest.MonkeyPatch) -> None:
    for candidates in ([HEAD, ADAPTER], [Candidate("a", 0, 3, True), Candidate("b", 3, 3, False, (0.0, 1.0))]):
        for axes in drawn(monkeypatch, candidates, Gain(-0.5, 0.1, 2.0, "")).axes:
            low, high = axes.get_xlim()
            marks = np.concatenate([line.get_xdata() for line in axes.lines])
            assert low <= marks.min() <= marks.max() <= high


def test_the_gain_is_drawn_against_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    for gain, error, colour in ((0.021, 0.018, OTHER), (0.221, 0.018, SHIPS), (-0.2, 0.01, OTHER), (0.0, 0.0, OTHER)):
        below = drawn(monkeypatch, [HEAD, ADAPTER], Gain(gain, error, 2.0, "note")).axes[1]
        zero, bar, point = below.lines
        assert list(zero.get_xdata()) == [0, 0]
        np.testing.assert_allclose(bar.get_xdata(), [gain - 1.959964 * error, gain + 1.959964 * error], atol=1e-7)
        assert (point.get_xdata()[0], point.get_color()) == (gain, colour)


def test_without_a_comparison_there_is_one_panel(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(drawn(monkeypatch, [HEAD], None).axes) == 1


@pytest.mark.parametrize(("candidates", "gain"), [([HEAD, ADAPTER], GAIN), ([HEAD], None)])
@pytest.mark.parametrize("title", ["short", "long " * 60])
def test_a_picture_comes_of_every_run(candidates: list[Candidate], gain: Gain | None, title: str) -> None:
    with Image.open(io.BytesIO(draw_accuracy(candidates, gain, title, ["a sentence"]))) as image:
        assert image.size[0] == 880
        assert 200 < image.size[1] < 700
