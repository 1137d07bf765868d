"""engines.onnxruntime.mapped: two sessions answer as one does, hold the weights once, and leave no file behind."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.engines.onnxruntime import mapped
from adaptertune_deploy.engines.onnxruntime.engine import OrtEngine
from adaptertune_deploy.engines.opening import open_engine
from adaptertune_deploy.engines.options import EngineOptions

PAIR = EngineOptions(device="cpu", threads=2, at_once=2)
WIDTH = 2048
X = np.random.default_rng(0).normal(size=(3, WIDTH)).astype(np.float32)


@pytest.fixture(scope="module")
def product() -> bytes:
    """Return a graph of one product with 16.8 MB of weights."""
    onnx = pytest.importorskip("onnx")
    weights = np.random.default_rng(1).normal(size=(WIDTH, WIDTH), scale=0.02).astype(np.float32)
    node = onnx.helper.make_node("MatMul", ["x", "weight"], ["y"])
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", WIDTH]) for name in ("x", "y")]
    held = [onnx.numpy_helper.from_array(weights, "weight")]
    graph = onnx.helper.make_graph([node], "g", ends[:1], ends[1:], held)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=9)
    data: bytes = model.SerializeToString()
    return data


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ATD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / mapped.KIND


def both_answers(data: bytes) -> list[Any]:
    """Return what each of the two sessions of a graph gives for X."""
    with contextlib.closing(open_engine(data, "g.onnx", PAIR)) as engine:
        assert isinstance(engine, OrtEngine)
        assert engine.limits.at_once == 2
        lanes = engine._open_lanes()
        with lanes.take() as alone, lanes.take() as beside:
            assert alone.session is not beside.session
            return [lane.session.run(None, {"x": X})[0] for lane in (alone, beside)]


def test_both_sessions_give_the_bits_of_an_ordinary_one(
    product: bytes, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with contextlib.closing(open_engine(product, "g.onnx", EngineOptions(device="cpu", threads=1))) as engine:
        expected = engine.run({"x": X})["y"]
    assert not cache.exists()
    for found in both_answers(product):
        np.testing.assert_array_equal(found, expected)
    assert list(cache.iterdir()) == []
    assert not caplog.records


def test_what_was_optimised_is_not_optimised_again(
    product: bytes, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graph in float16 has casts between its operators, of which a second round takes some away: other bits."""
    levels: list[tuple[type, Any]] = []
    real = ort.InferenceSession

    def noted(data: bytes | str, options: Any, **rest: Any) -> Any:
        levels.append((type(data), options.graph_optimization_level))
        return real(data, options, **rest)

    monkeypatch.setattr(ort, "InferenceSession", noted)
    both_answers(product)
    level = ort.GraphOptimizationLevel
    assert levels == [(bytes, level.ORT_ENABLE_ALL), *[(str, level.ORT_DISABLE_ALL)] * 2]


def test_the_weights_lie_in_memory_once(product: bytes, cache: Path, tmp_path: Path) -> None:
    """Of what a second session adds, the system counts no second set of weights."""
    graph = tmp_path / "g.onnx"
    graph.write_bytes(product)
    code = """
        import re, sys
        from pathlib import Path
        import numpy as np
        from adaptertune_deploy.engines import heap
        from adaptertune_deploy.engines.opening import open_engine
        from adaptertune_deploy.engines.options import EngineOptions
        data = Path(sys.argv[1]).read_bytes()
        engine = open_engine(data, "g.onnx", EngineOptions(device="cpu", threads=2, at_once=int(sys.argv[2])))
        lanes = engine._open_lanes()
        with lanes.take() as alone, lanes.take() as beside:
            for lane in (alone, beside):
                lane.session.run(None, {"x": np.zeros((1, 2048), np.float32)})
        del data
        heap.give_back()
        print(re.search(r"^Pss:\\s+(\\d+) kB", Path("/proc/self/smaps_rollup").read_text(), re.M)[1])
    """
    pss = []
    for at_once in ("1", "2"):
        command = [sys.executable, "-c", textwrap.dedent(code), str(graph), at_once]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        pss.append(int(done.stdout) / 1e3)
    assert pss[1] - pss[0] < 0.25 * len(product) / 1e6


def test_what_a_killed_process_left_goes_and_what_another_writes_stays(product: bytes, cache: Path) -> None:
    old, new = cache / f"{mapped.PREFIX}old", cache / f"{mapped.PREFIX}new"
    for folder in (old, new):
        folder.mkdir(parents=True)
        (folder / mapped.WEIGHTS).write_bytes(b"half")
    then = time.time() - 2 * mapped.STALE_S
    os.utime(old, (then, then))
    both_answers(product)
    assert list(cache.iterdir()) == [new]


def test_without_a_place_for_the_file_there_are_two_sets_of_weights_and_it_is_said(
    product: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    place = tmp_path / "file"
    place.write_text("")
    monkeypatch.setenv("ATD_CACHE", str(place))
    first, second = both_answers(product)
    np.testing.assert_array_equal(first, second)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == (
        f"g.onnx: the weights lie in memory twice: ATD_CACHE {place}/sessions: {place} is a file, expected a folder; "
        "choose another ATD_CACHE"
    )


def test_a_file_that_the_system_lets_nobody_finish_is_one_line_and_nothing_stays(
    product: bytes, cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As on a disk whose last room went to somebody else meanwhile: ONNX Runtime finds the file's end missing."""
    real = ort.InferenceSession

    def cut(data: bytes | str, options: Any, **rest: Any) -> Any:
        if isinstance(data, str):
            with open(Path(data).with_name(mapped.WEIGHTS), "r+b") as weights:
                weights.truncate(1000)
        return real(data, options, **rest)

    monkeypatch.setattr(ort, "InferenceSession", cut)
    first, second = both_answers(product)
    np.testing.assert_array_equal(first, second)
    (record,) = caplog.records
    assert record.getMessage().startswith("g.onnx: the weights lie in memory twice: ")
    assert "\n" not in record.getMessage()
    assert list(cache.iterdir()) == []


def test_a_graph_that_is_refused_is_refused_without_a_word_about_memory(
    cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(EngineError, match=r"^g\.onnx: "):
        open_engine(b"garbage", "g.onnx", PAIR)
    assert not caplog.records
    assert not cache.exists() or list(cache.iterdir()) == []
