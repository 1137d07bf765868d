"""engines.onnxruntime.library: the package, its exceptions, and one line where it is not installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import onnxruntime as ort
import pytest

from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.engines.onnxruntime import engine, library, session
from adaptertune_deploy.engines.opening import open_engine
from tests.engines.onnx_files import lookup


def test_a_missing_onnxruntime_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    for module in (engine, session, library):
        monkeypatch.delitem(sys.modules, module.__name__)
    with pytest.raises(EngineError, match=r"^ONNX Runtime can't be imported .*pip install 'adaptertune-deploy\[cpu\]'"):
        open_engine(lookup(), "g.onnx")


def test_nothing_is_reported_to_anybody(tmp_path: Path) -> None:
    """ONNX Runtime writes an identifier into the home folder before it sends its first event; not where CI is set."""
    graph, home = tmp_path / "g.onnx", tmp_path / "home"
    graph.write_bytes(lookup())
    home.mkdir()
    code = (
        "import sys; from pathlib import Path; from adaptertune_deploy.engines.opening import open_engine; "
        "print(open_engine(Path(sys.argv[1]).read_bytes(), 'g.onnx').name)"
    )
    environment = {"HOME": str(home), "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(
        [sys.executable, "-c", code, str(graph)], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout.strip() == "onnxruntime"
    assert list(home.rglob("*")) == []


@pytest.mark.parametrize("graph", [b"garbage", lookup()[:-40]])
def test_what_onnx_runtime_raises_is_listed(graph: bytes) -> None:
    with pytest.raises(library.FAILURES):
        ort.InferenceSession(graph, providers=["CPUExecutionProvider"])


def test_a_configuration_entry_is_there_to_read() -> None:
    assert library.run_options("gpu_graph_id", "7").get_run_config_entry("gpu_graph_id") == "7"
