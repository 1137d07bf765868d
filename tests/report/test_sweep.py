"""report.sweep: a picture of ranks side by side, also where nothing was compared."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from adaptertune_deploy.report.sweep import SweptPoint, draw_sweep

POINTS = [
    SweptPoint(0, 400, (0.81,), 0.6, 0.02),
    SweptPoint(2, 4_400, (0.84, 0.86), 0.504, 0.006),
    SweptPoint(8, 16_400, (0.85, 0.88), 0.5, 0.0),
]


@pytest.mark.parametrize("enough", [0, 2, 8, None])
def test_it_can_be_drawn(enough: int | None) -> None:
    image = Image.open(io.BytesIO(draw_sweep(POINTS, enough, "trees: rank 2 is enough for $1")))
    assert (image.format, image.size) == ("PNG", (770, 704))


def test_what_is_enough_is_marked() -> None:
    assert draw_sweep(POINTS, 2, "trees") != draw_sweep(POINTS, 8, "trees")


def test_without_a_comparison_only_the_test_is_shown() -> None:
    points = [SweptPoint(point.rank, point.bytes, point.top1, None, None) for point in POINTS[:2]]
    assert draw_sweep(points, None, "trees").startswith(b"\x89PNG")


@pytest.mark.parametrize("compared", [True, False])
def test_nested_widths_are_a_line_of_their_own(compared: bool) -> None:
    nested = [
        SweptPoint(rank, 400 * rank, (0.82, 0.83), 0.52 if compared else None, 0.01 if compared else None)
        for rank in (1, 2, 8)  # rank 1 is no rank of the sweep
    ]
    assert draw_sweep(POINTS, 2, "trees", nested) != draw_sweep(POINTS, 2, "trees")


@pytest.mark.parametrize("loss", [0.45, None])
def test_full_fine_tuning_is_a_level(loss: float | None) -> None:
    full = SweptPoint(0, 22_000_000, (0.87, 0.89), loss, None)
    assert draw_sweep(POINTS, 2, "trees", full=[full]) != draw_sweep(POINTS, 2, "trees")
