"""report.ranks: a picture of the ranks that were tried."""

from __future__ import annotations

import io

from PIL import Image

from adaptertune_deploy.report.ranks import RankPoint, draw_ranks

POINTS = [RankPoint(0, 0.9, 0.4, 0.05, 0.7), RankPoint(2, 0.6, 0.1, 0.03, 0.8), RankPoint(8, 0.5, 0.0, 0.0, 0.85)]


def test_the_picked_rank_is_told_from_the_others() -> None:
    pictures = [Image.open(io.BytesIO(draw_ranks(POINTS, picked, "rank 8 costs $2"))) for picked in (2, 8)]
    assert {image.format for image in pictures} == {"PNG"}
    assert pictures[0].size == pictures[1].size == (770, 550)
    assert pictures[0].tobytes() != pictures[1].tobytes()
