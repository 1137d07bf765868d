"""The probe of an engine: right answers, wrong ones, refusals; in this process and as the doctor starts it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from adaptertune_deploy.core.errors import AtdError
from adaptertune_deploy.doctor.probes import engine
from tests.engines import cuda_double
from tests.engines.tensorrt.conftest import install
from tests.engines.tensorrt.double import Faults


def test_an_engine_that_works_is_right_to_float32() -> None:
    found = engine.try_engine("onnxruntime", "cpu", "fp32")
    assert (found["provider"], found["device"]) == ("CPUExecutionProvider", "cpu")
    assert isinstance(found["error"], float)
    assert 0 < found["error"] < 1e-5


def test_answers_are_compared_with_arithmetic_done_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.math, "erf", lambda x: 0.0)  # another function than the graph's
    found = engine.try_engine("onnxruntime", "cpu", "fp32")
    assert isinstance(found["error"], float)
    assert found["error"] > 0.01


def test_what_an_engine_refuses_is_an_error() -> None:
    with pytest.raises(AtdError, match="tpu"):
        engine.try_engine("onnxruntime", "tpu", "fp32")


def probe(*arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", engine.__name__, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(found, dict)
    return found


def test_the_probe_answers_in_one_line() -> None:
    assert set(probe("onnxruntime", "cpu", "fp32")) == {"version", "provider", "device", "error"}
    assert "-E nonsense" in str(probe("onnxruntime", "cpu", "fp32", "nonsense=1")["refused"])


def test_tensorrt_takes_it_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """On doubles that compute with ONNX Runtime: nothing here ran on a GPU."""
    monkeypatch.setenv("ATD_CACHE", str(tmp_path))
    for gpu in cuda_double.installed():
        install(gpu, Faults(), monkeypatch, "10.3")
        found = engine.try_engine("tensorrt", "cuda", "fp32")
        assert (found["provider"], found["device"]) == ("TensorRT", "cuda:0")
        assert isinstance(found["error"], float)
        assert found["error"] < 1e-5


def test_tensorrt_without_a_driver_is_refused_before_it_is_touched() -> None:
    pytest.importorskip("tensorrt_rtx")
    found = probe("tensorrt-rtx", "cuda", "fp32")
    assert found["refused"].startswith("no NVIDIA driver here") or found["refused"].startswith("the NVIDIA driver")


def test_a_library_that_is_not_there(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(engine.importlib.util, "find_spec", lambda name: None)
    engine.main(["onnxruntime", "cpu", "fp32"])
    assert json.loads(capsys.readouterr().out) == {"absent": "onnxruntime"}
