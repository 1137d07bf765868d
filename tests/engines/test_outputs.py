from __future__ import annotations

import numpy as np
import pytest

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.engines.limits import Limits
from adaptertune_deploy.engines.outputs import run_merged, take
from tests.serve.fakes import FakeEngine, random_images


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


@pytest.mark.parametrize("most", [None, 1, 3, 7])
def test_a_merged_graph_runs_in_as_many_parts_as_its_engine_asks_for(most: int | None) -> None:
    images = random_images(7)
    engine = FakeEngine(lambda feeds: feeds[bank.IMAGES].mean(axis=(2, 3)), bank.LOGITS, limits=Limits(max_rows=most))
    np.testing.assert_array_equal(run_merged(engine, images, 3), images.mean(axis=(2, 3)))
    assert max(len(call[bank.IMAGES]) for call in engine.calls) == (most or 7)


def test_every_part_is_checked() -> None:
    engine = FakeEngine(lambda feeds: np.zeros((2, 3), np.float32), bank.LOGITS, limits=Limits(max_rows=2))
    with pytest.raises(EngineError, match=r"logits of shape \[2, 3\], expected \[1, 3\]"):
        run_merged(engine, random_images(3), 3)
