from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

if importlib.util.find_spec("openvino") is None:
    pytest.skip("OpenVINO is an extra of its own", allow_module_level=True)

from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.engines.opening import open_engine
from adaptertune_deploy.engines.openvino import engine, library
from adaptertune_deploy.engines.options import EngineOptions
from tests.engines.onnx_files import lookup


def test_nothing_is_reported_to_anybody(tmp_path: Path) -> None:
    """OpenVINO's own import writes an identifier into the home folder and sends an event."""
    code = (
        "import sys; import adaptertune_deploy.engines.openvino.engine; "
        "print([n for n in sys.modules if 'openvino_tel' in n])"
    )
    environment = {"HOME": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.strip() == "[]"
    assert list(tmp_path.rglob("*")) == []


def test_a_missing_openvino_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    for module in (engine, library):
        monkeypatch.delitem(sys.modules, module.__name__)
    with pytest.raises(EngineError, match=r"pip install 'adaptertune-deploy\[openvino\]'"):
        open_engine(lookup(), "g.onnx", EngineOptions("openvino", "cpu"))
