from __future__ import annotations

import numpy as np
import pytest

from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.engines.engine import AnyArray, TensorInfo
from adaptertune_deploy.engines.feeds import check_feeds

INPUTS = {
    "images": TensorInfo("images", np.dtype(np.float32), ("N", 3, 32, 32)),
    "image": TensorInfo("image", np.dtype(np.int64), ("B",)),
    "task": TensorInfo("task", np.dtype(np.int64), ("B",)),
}
FEEDS: dict[str, AnyArray] = {
    "images": np.zeros((2, 3, 32, 32), np.float32),
    "image": np.zeros(5, np.int64),
    "task": np.zeros(5, np.int64),
}


def test_feeds_that_fit_are_accepted() -> None:
    check_feeds(INPUTS, FEEDS)
    check_feeds(INPUTS, {"task": FEEDS["task"]}, {"images", "image"})
    check_feeds(INPUTS, {}, INPUTS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"imags": FEEDS["images"]}, "no input 'imags', only images, image, task. Did you mean 'images'?"),
        ({"images": FEEDS["images"].astype(np.float64)}, "input 'images' has dtype float64, expected float32"),
        ({"task": FEEDS["task"].astype(np.int32)}, "input 'task' has dtype int32, expected int64"),
        ({"images": np.zeros((2, 3, 32, 31), np.float32)}, "has shape [2, 3, 32, 31], expected ['N', 3, 32, 32]"),
        ({"images": np.zeros((3, 32, 32), np.float32)}, "has shape [3, 32, 32], expected ['N', 3, 32, 32]"),
        ({"task": np.zeros((), np.int64)}, "input 'task' has shape [], expected ['B']"),
    ],
)
def test_feeds_that_do_not_fit_are_refused(change: dict[str, AnyArray], message: str) -> None:
    with pytest.raises(EngineError) as caught:
        check_feeds(INPUTS, {**FEEDS, **change})
    assert message in str(caught.value)


def test_a_missing_input_is_named() -> None:
    with pytest.raises(EngineError, match=r"input 'image' was not given \(2 missing in all\)"):
        check_feeds(INPUTS, {"images": FEEDS["images"]})
    with pytest.raises(EngineError, match=r"input 'task' was not given \(1 missing in all\)"):
        check_feeds(INPUTS, {"images": FEEDS["images"]}, {"image"})


def test_a_graph_of_many_inputs_does_not_list_them_all() -> None:
    many = {f"input{place}": TensorInfo(f"input{place}", np.dtype(np.float32), ("B",)) for place in range(35)}
    with pytest.raises(EngineError, match=r"no input 'x', only input0, .*, input7, \.\.\.\.$"):
        check_feeds(many, {"x": np.zeros(1, np.float32)})
