"""engines.engine: the table, choosing an engine, and comparing arrays with a graph's inputs."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from adaptertune_deploy.core.errors import EngineError, UsageError
from adaptertune_deploy.engines import engine
from adaptertune_deploy.engines.engine import AnyArray, TensorInfo

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


def test_every_engine_of_the_table_names_a_module_and_an_opener() -> None:
    assert "onnxruntime" in engine.ENGINES
    for target in engine.ENGINES.values():
        module, colon, opener = target.partition(":")
        assert module.startswith("adaptertune_deploy.engines.")
        assert colon
        assert opener.isidentifier()


def test_an_unknown_engine_is_refused_with_a_suggestion() -> None:
    with pytest.raises(UsageError, match=r"no engine 'onnxruntme', only .*onnxruntime.* Did you mean 'onnxruntime'\?"):
        engine.open_engine(Path("backbone.onnx"), "onnxruntme")


def test_the_opener_gets_what_the_caller_chose(monkeypatch: pytest.MonkeyPatch) -> None:
    echo = SimpleNamespace(open_echo=lambda *arguments: arguments)
    monkeypatch.setitem(engine.ENGINES, "echo", "echo:open_echo")
    monkeypatch.setitem(sys.modules, "echo", echo)
    opened = engine.open_engine(Path("backbone.onnx"), "echo", provider="cpu", threads=3)
    assert opened == (Path("backbone.onnx"), "cpu", 3)


def test_feeds_that_fit_are_accepted() -> None:
    engine.check_feeds(INPUTS, FEEDS)
    engine.check_feeds(INPUTS, {"task": FEEDS["task"]}, complete=False)
    engine.check_feeds(INPUTS, {}, complete=False)


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
        engine.check_feeds(INPUTS, {**FEEDS, **change})
    assert message in str(caught.value)


def test_a_missing_input_is_named() -> None:
    with pytest.raises(EngineError, match=r"input 'image' was not given \(2 missing in all\)"):
        engine.check_feeds(INPUTS, {"images": FEEDS["images"]})
