"""engines.ort: sessions that run where they were asked to, on tensors that stay on the device."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adaptertune_deploy.core.errors import EngineError, UsageError
from adaptertune_deploy.engines import ort
from adaptertune_deploy.engines.engine import TensorInfo, open_engine
from adaptertune_deploy.engines.ort import CPU, CUDA, OrtEngine, open_ort
from tests.engines.onnx_files import FLOAT, INDEX, ROWS, TABLE, graph, lookup, model, node, value_info

TEN = np.arange(30, dtype=np.float32).reshape(10, 3)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "lookup.onnx").write_bytes(lookup())
    return tmp_path / "lookup.onnx"


@pytest.fixture
def engine(path: Path) -> OrtEngine:
    return open_ort(path, "cpu", 1)


def without_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ort.ort, "get_available_providers", lambda: [CPU])


def with_cuda_that_does_not_load(monkeypatch: pytest.MonkeyPatch) -> list[list[Any]]:
    """Do what onnxruntime-gpu does without its libraries: list CUDA, then quietly make a session on the CPU."""
    asked: list[list[Any]] = []
    real = ort.ort.InferenceSession

    def session(graph: Path, options: Any, providers: list[Any], **rest: Any) -> Any:
        asked.append(providers)
        return real(graph, options, providers=[CPU], **rest)

    monkeypatch.setattr(ort.ort, "get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr(ort.ort, "InferenceSession", session)
    monkeypatch.setattr(ort.ort, "preload_dlls", lambda: print("could not load libcudart"), raising=False)
    return asked


def test_inputs_outputs_and_metadata_are_described(engine: OrtEngine) -> None:
    assert engine.inputs == {
        "table": TensorInfo("table", np.dtype(np.float32), ("T", 3)),
        "index": TensorInfo("index", np.dtype(np.int64), ("B",)),
    }
    assert engine.outputs == {"rows": TensorInfo("rows", np.dtype(np.float32), ("B", 3))}
    assert engine.metadata == {"about": "lookup"}
    assert engine.provider == CPU


def test_the_table_of_engines_opens_it(path: Path) -> None:
    opened = open_engine(path, provider="cpu")
    assert opened.run({"table": TEN, "index": np.array([3])})["rows"].tolist() == [[9, 10, 11]]


@pytest.mark.parametrize("batch", [1, 2, 7, 32])
def test_feeds_alone_and_bound_tensors_give_the_same(engine: OrtEngine, batch: int) -> None:
    index = np.arange(batch) % 10
    fed = engine.run({"table": TEN, "index": index})["rows"]
    engine.bind({"table": TEN})
    bound = engine.run({"index": index})["rows"]
    assert np.array_equal(fed, TEN[index])
    assert np.array_equal(bound, TEN[index])


def test_bound_tensors_are_copies_and_outputs_belong_to_the_caller(engine: OrtEngine) -> None:
    table = TEN.copy()
    engine.bind({"table": table})
    table[:] = -1
    first = engine.run({"index": np.array([1])})["rows"]
    first[:] = -2
    assert engine.run({"index": np.array([1])})["rows"].tolist() == [[3, 4, 5]]


def test_bind_replaces_and_takes_other_sizes(engine: OrtEngine) -> None:
    engine.bind({"table": TEN})
    engine.bind({"table": TEN[:2] + 100})
    assert engine.run({"index": np.array([1])})["rows"].tolist() == [[103, 104, 105]]
    with pytest.raises(EngineError, match=r"could not run the graph: .*out of data bounds"):
        engine.run({"index": np.array([9])})


def test_a_feed_goes_before_a_bound_tensor(engine: OrtEngine) -> None:
    engine.bind({"table": TEN})
    assert engine.run({"table": TEN * 2, "index": np.array([1])})["rows"].tolist() == [[6, 8, 10]]


def test_transposed_arrays_mean_what_they_show(engine: OrtEngine) -> None:
    table = np.asfortranarray(TEN)
    assert np.array_equal(engine.run({"table": table, "index": np.arange(10)})["rows"], TEN)
    engine.bind({"table": table})
    assert np.array_equal(engine.run({"index": np.arange(20)[::2] // 2})["rows"], TEN)


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ({"index": np.array([0])}, r"input 'table' was neither given nor bound \(1 missing in all\)"),
        ({"tabel": TEN, "index": np.array([0])}, "no input 'tabel', only table, index. Did you mean 'table'?"),
        ({"table": TEN.astype(np.float64), "index": np.array([0])}, "'table' has dtype float64, expected float32"),
        ({"table": TEN[:, :2], "index": np.array([0])}, r"'table' has shape \[10, 2\], expected \['T', 3\]"),
        ({"table": TEN, "index": np.array(0)}, r"'index' has shape \[\], expected \['B'\]"),
    ],
)
def test_wrong_feeds_are_refused_by_name(engine: OrtEngine, feeds: dict[str, Any], message: str) -> None:
    with pytest.raises(EngineError, match=message):
        engine.run(feeds)


def test_wrong_constants_are_refused_and_leave_what_was_bound(engine: OrtEngine) -> None:
    engine.bind({"table": TEN})
    with pytest.raises(EngineError, match=r"expected \['T', 3\]"):
        engine.bind({"table": TEN.T})
    assert engine.run({"index": np.array([0])})["rows"].tolist() == [[0, 1, 2]]


def test_a_closed_engine_says_so(engine: OrtEngine) -> None:
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="this engine is closed"):
        engine.run({"table": TEN, "index": np.array([0])})
    with pytest.raises(EngineError, match="this engine is closed"):
        engine.bind({"table": TEN})


def test_a_run_never_sees_half_of_a_bind(engine: OrtEngine) -> None:
    engine.bind({"table": np.zeros((10, 3), np.float32)})
    index = np.tile(np.arange(10), 100)
    seen: list[set[float]] = []

    def ask() -> None:
        for _ in range(50):
            seen.append(set(engine.run({"index": index})["rows"].ravel().tolist()))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for value in range(1, 200):
        engine.bind({"table": np.full((10, 3), value, np.float32)})
    for thread in threads:
        thread.join()
    assert len(seen) == 150
    assert all(len(values) == 1 for values in seen)


def test_failures_stay_off_the_terminal(engine: OrtEngine, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(EngineError) as failure:
        engine.run({"table": TEN, "index": np.array([10])})
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(model(graph(node("NoSuchOp", ("table",), "rows"), inputs=(TABLE,), outputs=(ROWS,))))
    with pytest.raises(EngineError) as refusal:
        open_ort(broken, "cpu", 1)
    assert "NoSuchOp" in str(refusal.value)
    for error in (failure.value, refusal.value):
        assert "\n" not in str(error)
        assert "[ONNXRuntimeError]" not in str(error)
    assert capfd.readouterr() == ("", "")


def test_a_graph_with_strings_is_refused(tmp_path: Path) -> None:
    text = value_info("text", 8, ("B",))
    (tmp_path / "text.onnx").write_bytes(
        model(graph(node("Identity", ("text",), "same"), inputs=(text,), outputs=(value_info("same", 8, ("B",)),)))
    )
    with pytest.raises(EngineError, match=r"'text' has type tensor\(string\)"):
        open_ort(tmp_path / "text.onnx", "cpu", 1)


def test_an_unnamed_dimension_is_dynamic(tmp_path: Path) -> None:
    unnamed = value_info("table", FLOAT, ("", 3))
    (tmp_path / "g.onnx").write_bytes(
        model(graph(node("Gather", ("table", "index"), "rows"), inputs=(unnamed, INDEX), outputs=(ROWS,)))
    )
    assert open_ort(tmp_path / "g.onnx", "cpu", 1).inputs["table"].shape == ("?", 3)


def test_unknown_providers_and_thread_counts_are_usage_errors(path: Path) -> None:
    with pytest.raises(UsageError, match=r"no provider 'cdua' here, only auto, cpu, cuda\. Did you mean 'cuda'\?"):
        open_ort(path, "cdua", 1)
    with pytest.raises(UsageError, match="threads is -1"):
        open_ort(path, "cpu", -1)


def test_auto_takes_the_cpu_where_there_is_no_cuda(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_cuda(monkeypatch)
    assert open_ort(path, "auto", 0).provider == CPU


def test_cuda_is_an_error_where_onnxruntime_has_none(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_cuda(monkeypatch)
    with pytest.raises(EngineError, match=r"has no CUDA provider; .*pip install 'adaptertune-deploy\[gpu\]'"):
        open_ort(path, "cuda", 0)


def test_a_silent_fallback_is_found_out(
    path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    asked = with_cuda_that_does_not_load(monkeypatch)
    with pytest.raises(EngineError, match=f"asked for {CUDA} and loaded only {CPU}; .*--provider cpu"):
        open_ort(path, "cuda", 0)
    assert asked == [[(CUDA, {"use_tf32": "0"}), CPU]]
    assert open_ort(path, "auto", 0).provider == CPU
    assert [providers[0] for providers in asked[1:]] == [(CUDA, {"use_tf32": "0"}), CPU]
    assert capfd.readouterr() == ("", "")


def test_the_session_neither_spins_nor_keeps_patterns_nor_falls_back(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    real = ort.ort.InferenceSession

    def session(graph: Path, options: Any, **rest: Any) -> Any:
        made.append((options, rest))
        return real(graph, options, **rest)

    monkeypatch.setattr(ort.ort, "InferenceSession", session)
    open_ort(path, "cpu", 3)
    ((options, rest),) = made
    assert options.intra_op_num_threads == 3
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert options.enable_mem_pattern is False
    assert rest == {"providers": [CPU], "enable_fallback": 0}


def test_a_missing_onnxruntime_names_the_extra(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.delitem(sys.modules, ort.__name__)
    with pytest.raises(EngineError, match=r"pip install 'adaptertune-deploy\[cpu\]'"):
        open_engine(path)


@pytest.mark.gpu
def test_cuda_gives_what_the_cpu_gives(path: Path) -> None:
    if CUDA not in ort.ort.get_available_providers():
        pytest.skip("this onnxruntime has no CUDA provider; install adaptertune-deploy[gpu] on a machine with a GPU")
    engine = open_ort(path, "cuda", 0)
    assert engine.provider == CUDA
    engine.bind({"table": TEN})
    assert np.array_equal(engine.run({"index": np.arange(10)})["rows"], TEN)
    assert open_ort(path, "auto", 0).provider == CUDA
