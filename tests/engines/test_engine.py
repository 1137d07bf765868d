"""engines.engine: the table, choosing an engine, and comparing arrays with a graph's inputs."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from adaptertune_deploy.core.errors import EngineError, UsageError
from adaptertune_deploy.engines import engine
from adaptertune_deploy.engines.engine import AnyArray, EngineEntry, TensorInfo
from tests.engines.onnx_files import ROWS, graph, lookup, model, node

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


@pytest.fixture
def echo(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """An engine that returns what it was opened with; the list tells which providers it was asked about."""
    asked: list[str] = []
    module = SimpleNamespace(open_graph=lambda *arguments: arguments, check_installed=asked.append)
    monkeypatch.setitem(engine.ENGINES, "echo", EngineEntry("Echo", "echo", "json", ("auto", "cpu", "gpu")))
    monkeypatch.setitem(sys.modules, "echo", module)
    return asked


def test_every_engine_of_the_table_keeps_the_entrys_promises() -> None:
    assert "onnxruntime" in engine.ENGINES
    for entry in engine.ENGINES.values():
        assert entry.module.startswith("adaptertune_deploy.engines.")
        assert set(entry.everywhere) <= set(entry.providers)
        module = importlib.import_module(entry.module)
        assert list(inspect.signature(module.open_graph).parameters) == ["graph", "where", "provider", "threads"]
        assert list(inspect.signature(module.check_installed).parameters) == ["provider"]


def test_an_unknown_engine_is_refused_with_a_suggestion() -> None:
    message = r"no engine 'onnxruntme', only .*onnxruntime.* Did you mean 'onnxruntime'\?"
    with pytest.raises(UsageError, match=message):
        engine.open_engine(lookup(), "g.onnx", "onnxruntme")
    with pytest.raises(UsageError, match=message):
        engine.check_provider("onnxruntme", "cpu")


def test_an_unknown_provider_is_refused_with_a_suggestion() -> None:
    message = r"ONNX Runtime has no provider 'cdua' here, only auto, cpu, cuda\. Did you mean 'cuda'\?"
    with pytest.raises(UsageError, match=message):
        engine.open_engine(lookup(), "g.onnx", provider="cdua")
    with pytest.raises(UsageError, match=message):
        engine.check_provider("onnxruntime", "cdua")


def test_a_negative_number_of_threads_is_refused() -> None:
    with pytest.raises(UsageError, match=r"--threads -1: expected 0 \(all cores\) or more"):
        engine.open_engine(lookup(), "g.onnx", threads=-1)


def test_the_opener_gets_what_the_caller_chose(echo: list[str]) -> None:
    opened = engine.open_engine(lookup(), "bundle/backbone.onnx", "echo", provider="cpu", threads=3)
    assert opened == (lookup(), "bundle/backbone.onnx", "cpu", 3)
    assert engine.open_engine(lookup(), "g.onnx", "echo") == (lookup(), "g.onnx", "auto", 0)


def test_no_engine_sees_a_graph_that_is_not_plain(echo: list[str]) -> None:
    loop = model(graph(node("Loop", (), "rows"), inputs=(), outputs=(ROWS,)))
    with pytest.raises(EngineError, match=r"bundle/backbone\.onnx: holds the operator 'Loop'"):
        engine.open_engine(loop, "bundle/backbone.onnx", "echo")


def test_a_provider_is_checked_by_the_engine_only_where_installations_differ(
    echo: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for provider in ("auto", "cpu"):
        engine.check_provider("echo", provider)
    assert echo == []
    engine.check_provider("echo", "gpu")
    assert echo == ["gpu"]
    monkeypatch.setitem(engine.ENGINES, "echo", EngineEntry("Echo", "echo", "no_such_library"))
    engine.check_provider("echo", "cpu")
    assert echo == ["gpu", "cpu"]


def test_the_usual_providers_are_checked_without_importing_onnx_runtime() -> None:
    code = (
        "import sys; from adaptertune_deploy.engines.engine import check_provider;"
        "check_provider('onnxruntime', 'cpu'); print('onnxruntime' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_feeds_that_fit_are_accepted() -> None:
    engine.check_feeds(INPUTS, FEEDS)
    engine.check_feeds(INPUTS, {"task": FEEDS["task"]}, {"images", "image"})
    engine.check_feeds(INPUTS, {}, INPUTS)


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
    with pytest.raises(EngineError, match=r"input 'task' was not given \(1 missing in all\)"):
        engine.check_feeds(INPUTS, {"images": FEEDS["images"]}, {"image"})


def test_a_graph_of_many_inputs_does_not_list_them_all() -> None:
    many = {f"input{place}": TensorInfo(f"input{place}", np.dtype(np.float32), ("B",)) for place in range(35)}
    with pytest.raises(EngineError, match=r"no input 'x', only input0, .*, input7, \.\.\.\.$"):
        engine.check_feeds(many, {"x": np.zeros(1, np.float32)})
