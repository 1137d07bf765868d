from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptertune_deploy.serve.answers import answer, best, softmax
from tests.builders import make_task


def test_softmax_equals_the_closed_form() -> None:
    logits = np.log(np.array([1, 2, 5], dtype=np.float32))
    np.testing.assert_allclose(softmax(logits), [0.125, 0.25, 0.625], rtol=1e-6)


def test_softmax_does_not_overflow() -> None:
    logits = np.array([1e38, 1e38, -1e38], dtype=np.float32)
    np.testing.assert_array_equal(softmax(logits), [0.5, 0.5, 0.0])


@given(st.lists(st.floats(-50, 50, width=32), min_size=2, max_size=20), st.integers(1, 25))
def test_best_agrees_with_sorting_by_value_then_index(values: list[float], count: int) -> None:
    logits = np.array(values, dtype=np.float32)
    expected = sorted(range(len(values)), key=lambda index: (-logits[index], index))[:count]
    assert best(logits, count) == expected
    assert softmax(logits).sum() == pytest.approx(1)


def test_an_answer_names_labels_and_stops_at_the_class_count() -> None:
    task = make_task("pets", classes=3)
    found = answer(4, task, np.array([0.0, 2.0, 1.0], dtype=np.float32), top_k=9)
    assert (found.image, found.task) == (4, "pets")
    assert [label.label for label in found.top] == ["pets 1", "pets 2", "pets 0"]
    assert [label.index for label in found.top] == [1, 2, 0]
    assert sum(label.probability for label in found.top) == pytest.approx(1)
