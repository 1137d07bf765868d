from __future__ import annotations

import numpy as np
import pytest

from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.engines.outputs import take


def test_an_output_of_the_right_shape_is_taken() -> None:
    logits = np.zeros((2, 3), dtype=np.float32)
    assert take({"more": np.zeros(1), "logits": logits}, "logits", 2, 3) is logits


@pytest.mark.parametrize("shape", [(1, 3), (2, 2), (2, 4), (3,), (2, 3, 1), ()])
def test_an_output_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(EngineError) as caught:
        take({"features": np.zeros(shape, dtype=np.float32)}, "features", 2, 3)
    assert f"features of shape {list(shape)}, expected [2, 3]; run atd export again" in str(caught.value)


def test_a_run_without_the_output_is_refused() -> None:
    with pytest.raises(EngineError, match="gave no 'logits', only answer, more"):
        take({"answer": np.zeros(1), "more": np.zeros(1)}, "logits", 1, 1)
