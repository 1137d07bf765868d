from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from adaptertune_deploy.report import confusion
from adaptertune_deploy.report.confusion import draw_confusion, most_confused

COUNTS = np.array([[3, 1, 0], [0, 2, 4], [0, 0, 0]])


def drawn(monkeypatch: pytest.MonkeyPatch, counts: np.ndarray, labels: list[str]) -> Figure:
    """Return the figure in place of its picture."""
    figure = Figure()
    monkeypatch.setattr(confusion, "picture", lambda size, draw: draw(figure))
    draw_confusion(counts, labels, "title")
    return figure


def test_a_row_is_shaded_by_shares_and_says_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    (axes,) = drawn(monkeypatch, COUNTS, ["ash", "elm", "oak"]).axes
    np.testing.assert_allclose(axes.images[0].get_array(), [[0.75, 0.25, 0], [0, 2 / 6, 4 / 6], [0, 0, 0]])
    assert [(text.get_position(), text.get_text()) for text in axes.texts] == [
        ((0, 0), "3"),
        ((1, 0), "1"),
        ((1, 1), "2"),
        ((2, 1), "4"),
    ]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["ash", "elm", "oak"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("answered", "true class")


def test_the_pairs_most_often_confused_come_first() -> None:
    assert most_confused(COUNTS) == ((1, 2), (0, 1))
    assert most_confused(COUNTS, 1) == ((1, 2),)
    assert most_confused(np.diag([3, 4])) == ()
    assert most_confused(np.ones((2, 2), dtype=np.int64)) == ((0, 1), (1, 0))


def test_many_classes_get_a_list_of_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = 5 * np.eye(50, dtype=np.int64)
    counts[7, 3], counts[2, 9] = 2, 4
    matrix, pairs = drawn(monkeypatch, counts, [f"kind {index}" for index in range(50)]).axes
    assert matrix.get_xlabel() == "answered, classes in the order of the labels"
    assert not matrix.texts
    assert pairs.texts[0].get_text() == "4 of 9  kind 2 → kind 9\n2 of 7  kind 7 → kind 3"


@pytest.mark.parametrize(("classes", "images"), [(2, 0), (2, 30), (15, 300), (16, 0), (40, 300), (102, 300)])
def test_a_picture_fits_its_number_of_classes(classes: int, images: int) -> None:
    generator = np.random.default_rng(classes)
    counts = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(counts, tuple(generator.integers(0, classes, (2, images))), 1)
    data = draw_confusion(counts, [f"a class of a rather long name {index}" for index in range(classes)], "title")
    with Image.open(io.BytesIO(data)) as picture:
        assert 300 < min(picture.size) <= max(picture.size) < 1600
