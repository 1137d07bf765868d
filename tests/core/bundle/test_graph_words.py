from __future__ import annotations

import pytest

from adaptertune_deploy.core.bundle.graph_words import in_words
from adaptertune_deploy.core.precision import Precision

FP32, INT8 = Precision.FP32, Precision.INT8
SHARED = [("shared", FP32, None), ("shared", INT8, None)]
MERGED = [("merged", precision, task) for precision in (FP32, INT8) for task in ("pets", "birds")]


@pytest.mark.parametrize(
    ("graphs", "form", "words"),
    [
        ([*SHARED, *MERGED], "shared", "shared fp32, int8 and merged fp32, int8 of pets, birds"),
        ([*SHARED, *MERGED], "merged", "merged fp32, int8 of pets, birds and shared fp32, int8"),
        (MERGED[:3], "merged", "merged fp32 of pets, birds and merged int8 of pets"),
        ([], "shared", "adapters"),
    ],
)
def test_precisions_of_the_same_tasks_are_named_together(
    graphs: list[tuple[str, Precision, str | None]], form: str, words: str
) -> None:
    assert in_words(graphs, form) == words


def test_many_tasks_are_counted() -> None:
    graphs = [("merged", FP32, f"t{place}") for place in range(12)]
    assert in_words(graphs, "merged") == "merged fp32 of t0, t1, t2, t3, t4, t5, t6, t7 and 4 more"
