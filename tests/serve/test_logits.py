from __future__ import annotations

import numpy as np
import pytest

from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.serve.logits import check_finite, take_logits
from tests.builders import make_task


def test_logits_of_the_right_shape_are_taken() -> None:
    logits = np.zeros((2, 3), dtype=np.float32)
    assert take_logits({"logits": logits}, 2, 3) is logits


@pytest.mark.parametrize("shape", [(1, 3), (2, 2), (2, 4), (3,), (2, 3, 1), ()])
def test_logits_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(EngineError) as caught:
        take_logits({"logits": np.zeros(shape, dtype=np.float32)}, 2, 3)
    assert f"logits of shape {list(shape)}, expected [2, 3]; run atd export again" in str(caught.value)


def test_a_run_without_logits_is_refused() -> None:
    with pytest.raises(EngineError, match="gave no 'logits', only answer, more"):
        take_logits({"answer": np.zeros(1), "more": np.zeros(1)}, 1, 1)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_are_withheld(value: float) -> None:
    check_finite(make_task("pets"), np.zeros(3, dtype=np.float32))
    with pytest.raises(EngineError, match="task 'pets' gave logits that are NaN or infinite"):
        check_finite(make_task("pets"), np.array([0, value, 0], dtype=np.float32))
