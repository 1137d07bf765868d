from __future__ import annotations

import io

import pytest
from PIL import Image

from adaptertune_deploy.report.canvas import DPI, folded, picture, short


def test_a_picture_is_a_png_of_its_size() -> None:
    data = picture((4.0, 2.5), lambda figure: figure.add_subplot().plot([0, 1], [0, 1]))
    with Image.open(io.BytesIO(data)) as image:
        assert (image.format, image.size) == ("PNG", (4 * DPI, int(2.5 * DPI)))


def test_the_same_drawing_gives_the_same_bytes() -> None:
    first, second = (picture((2.0, 2.0), lambda figure: figure.suptitle("a")) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("label", ["$x_{", "$\\frac$", "猫 🐈", "\\alpha", "100 %", " ", ""])
def test_any_label_can_be_drawn(label: str) -> None:
    assert picture((2.0, 2.0), lambda figure: figure.suptitle(short(label))).startswith(b"\x89PNG")


def test_a_label_is_one_short_line() -> None:
    assert short("a\nb \t c") == "a b c"
    assert short("x" * 28) == "x" * 28
    assert short("x" * 29) == "x" * 27 + "…"


def test_text_is_broken_between_words() -> None:
    assert folded("one two three", 8) == "one two\nthree"
