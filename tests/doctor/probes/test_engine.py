"""The small graph, against onnx's own checker and ONNX Runtime, and the probe as the doctor starts it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from adaptertune_deploy.core.errors import AtdError
from adaptertune_deploy.doctor.probes import engine
from adaptertune_deploy.engines.plain_graph import check_plain


def test_the_graph_is_a_valid_one_of_plain_operators() -> None:
    check_plain(engine.adapter_graph(), "the small graph")
    onnx = pytest.importorskip("onnx")
    model = onnx.load_from_string(engine.adapter_graph())
    onnx.checker.check_model(model, full_check=True)
    assert (model.ir_version, model.opset_import[0].version) == (10, 20)


def test_an_engine_that_works_is_right_to_float32() -> None:
    found = engine.try_engine("onnxruntime", "cpu", "fp32")
    assert (found["provider"], found["device"]) == ("CPUExecutionProvider", "cpu")
    assert isinstance(found["error"], float)
    assert 0 < found["error"] < 1e-5


def test_answers_are_compared_with_arithmetic_done_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.math, "erf", lambda x: 0.0)  # another function than the graph's
    found = engine.try_engine("onnxruntime", "cpu", "fp32")
    assert isinstance(found["error"], float)
    assert found["error"] > 0.1


def test_what_an_engine_refuses_is_an_error() -> None:
    with pytest.raises(AtdError, match="tpu"):
        engine.try_engine("onnxruntime", "tpu", "fp32")


def probe(*arguments: str) -> dict[str, object]:
    command = [sys.executable, "-m", engine.__name__, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(found, dict)
    return found


def test_the_probe_answers_in_one_line() -> None:
    assert set(probe("onnxruntime", "cpu", "fp32")) == {"version", "provider", "device", "error"}
    assert "-E nonsense" in str(probe("onnxruntime", "cpu", "fp32", "nonsense=1")["refused"])


def test_a_library_that_is_not_there(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(engine.importlib.util, "find_spec", lambda name: None)
    engine.main(["onnxruntime", "cpu", "fp32"])
    assert json.loads(capsys.readouterr().out) == {"absent": "onnxruntime"}
