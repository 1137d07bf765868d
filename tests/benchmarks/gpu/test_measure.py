"""The command that measures a GPU, on the CPU and the smallest network: stages, JSON, what is left out."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.engines.options import parse_settings
from adaptertune_deploy.engines.tensorrt.settings import TensorrtSettings
from benchmarks.gpu import inference, measure
from benchmarks.gpu.deadline import OutOfTimeError, deadline

ROOT = Path(__file__).parents[3]
SMALL = ["--models", "vit_pico_patch8_64", "--batches", "1,2", "--rounds", "2", "--device", "cpu"]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    target = tmp_path_factory.mktemp("gpu") / "results" / "gpu.json"
    stages = ["--stages", "machine,training,inference", "--engines", "onnxruntime,tensorrt"]
    measure.main([*SMALL, *stages, "--json", str(target)])
    document = json.loads(target.read_text())
    assert isinstance(document, dict)
    return document


def test_the_machine_and_what_it_lacks_are_named(measured: dict[str, Any]) -> None:
    assert measured["machine"]["cores"] >= 1
    assert "gpu" not in measured["machine"]
    assert set(measured["seconds"]) == {"machine", "training", "inference"}
    assert all(entry["status"] in ("note", "problem") for entry in measured["doctor"])
    assert any("tensorrt" in text for text in measured["not_measured"])


def test_every_graph_is_timed_at_every_batch(measured: dict[str, Any]) -> None:
    found = [
        tuple(entry[name] for name in ("batch", "graph", "engine", "precision")) for entry in measured["inference"]
    ]
    for batch in (1, 2):
        assert {entry[1:] for entry in found if entry[0] == batch} >= {
            ("plain", "torch", "fp32"),
            ("plain", "torch", "bf16"),
            ("shared", "onnxruntime", "fp32"),
            ("merged", "onnxruntime", "fp32"),
        }
    for entry in measured["inference"]:
        assert 0 < entry["milliseconds"]["low"] <= entry["milliseconds"]["median"] <= entry["milliseconds"]["high"]


def test_training_is_measured_in_both_precisions(measured: dict[str, Any]) -> None:
    assert [(entry["batch"], entry["precision"]) for entry in measured["training"]] == [(2, "fp32"), (2, "bf16")]
    assert all(entry["images_per_second"] > 0 and entry["peak_mb"] is None for entry in measured["training"])


def test_no_time_left_is_said_and_nothing_is_lost(tmp_path: Path) -> None:
    target = tmp_path / "gpu.json"
    measure.main([*SMALL, "--stages", "training,tests", "--seconds", "-1", "--json", str(target)])
    document = json.loads(target.read_text())
    assert document["not_measured"] == [
        f"{stage}: its time was over; what it measured until then is kept" for stage in ("training", "tests")
    ]


def make_work(tmp_path: Path, seconds: float = 60) -> measure.Work:
    return measure.Work((), (), 1, "cpu", (), tmp_path / "gpu.json", time.monotonic() + seconds)


def test_a_stage_that_takes_too_long_ends_with_the_process_that_it_waits_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def waits(work: measure.Work) -> None:
        work.facts["begun"] = True
        subprocess.run([sys.executable, "-c", "import signal; signal.pause()"], check=True)

    monkeypatch.setattr(measure, "STAGES", {"machine": waits})
    work = make_work(tmp_path, seconds=4)
    measure.measure(work, ["machine"])
    document = json.loads(work.target.read_text())
    assert document["begun"]
    assert document["not_measured"] == ["machine: its time was over; what it measured until then is kept"]


def test_what_takes_too_long_is_left_and_the_stage_goes_on(tmp_path: Path) -> None:
    work = make_work(tmp_path)
    assert work.attempt("a plan", signal.pause, seconds=0.05) is None
    assert work.facts["not_measured"] == ["a plan: it took more than 0 s"]
    with pytest.raises(OutOfTimeError), deadline(0.05):
        work.attempt("another", signal.pause)
    assert len(work.facts["not_measured"]) == 1


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            RuntimeError("CUDA error: out of memory\nCompile with TORCH_USE_CUDA_DSA"),
            "RuntimeError: CUDA error: out of memory",
        ),
        (
            AssertionError("Torch not compiled with CUDA enabled"),
            "AssertionError: Torch not compiled with CUDA enabled",
        ),
        (ModuleNotFoundError("No module named 'timm'"), "No module named 'timm'"),
        (MemoryError(), "MemoryError: "),
    ],
)
def test_whatever_fails_is_one_line(tmp_path: Path, error: Exception, line: str) -> None:
    def fails() -> bool:
        raise error

    work = make_work(tmp_path)
    assert work.attempt("training", fails) is None
    assert work.facts["not_measured"] == [f"training: {line}"]


@pytest.mark.parametrize(
    ("code", "err", "said"),
    [
        (1, "/usr/bin/python3: No module named pytest", "tests: /usr/bin/python3: No module named pytest"),
        (
            4,
            "E   ImportError: x\nE   ModuleNotFoundError: No module named 'hypothesis'\n",
            "No module named 'hypothesis'",
        ),
        (3, "", "tests: ended with exit code 3 and said nothing"),
    ],
)
def test_tests_that_could_not_start_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, err: str, said: str
) -> None:
    monkeypatch.setattr(measure, "_run", lambda *words: subprocess.CompletedProcess(words, code, "", err))
    work = make_work(tmp_path)
    measure.run_tests(work)
    (told,) = work.facts["not_measured"]
    assert told.endswith(said)
    assert "tests" not in work.facts


def test_a_test_that_fails_is_an_exit_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = "FAILED tests/gpu/test_tensorrt.py::test_x - assert\n1 failed, 3 passed, 2 skipped in 9.00s"
    monkeypatch.setattr(measure, "_run", lambda *words: subprocess.CompletedProcess(words, 1, out, ""))
    target = tmp_path / "gpu.json"
    with pytest.raises(SystemExit) as ended:
        measure.main([*SMALL, "--stages", "tests", "--json", str(target)])
    assert ended.value.code == 1
    found = json.loads(target.read_text())["tests"]
    assert found == {"failed": 1, "passed": 3, "skipped": 2, "exit_code": 1, "not_passed": [out.splitlines()[0]]}


def test_a_doctor_that_can_not_start_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    err = "Traceback\nModuleNotFoundError: No module named 'typer'\n"
    monkeypatch.setattr(measure, "_run", lambda *words: subprocess.CompletedProcess(words, 1, "", err))
    work = make_work(tmp_path)
    measure.describe(work)
    assert work.facts["not_measured"] == ["atd doctor: ModuleNotFoundError: No module named 'typer'"]
    assert work.facts["machine"]["cores"] >= 1


def test_an_engine_that_is_not_there_is_told_once_and_the_others_are_timed(measured: dict[str, Any]) -> None:
    assert [text.partition(":")[0] for text in measured["not_measured"]] == ["tensorrt"]


def test_a_stage_that_can_not_run_does_not_end_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(work: measure.Work) -> None:
        raise EngineError("no such thing")

    def works(work: measure.Work) -> None:
        work.facts["machine"] = "this one"

    monkeypatch.setattr(measure, "STAGES", {"inference": fails, "machine": works})
    work = make_work(tmp_path)
    measure.measure(work, ["inference", "machine"])
    document = json.loads(work.target.read_text())
    assert document["not_measured"] == ["inference: no such thing"]
    assert document["machine"] == "this one"
    assert set(document["seconds"]) == {"inference", "machine"}


@pytest.mark.parametrize("largest", [2, 64, 1000])
def test_one_plan_takes_every_batch(largest: int) -> None:
    asked = inference.Asked("cuda", ("tensorrt",), 1, largest)
    options = asked.options("tensorrt", Precision.FP16)
    settings = parse_settings(TensorrtSettings, options.settings, "tensorrt")
    assert (settings.max_rows, options.precision) == (largest, Precision.FP16)
    assert settings.slots >= largest
    assert not asked.options("onnxruntime", Precision.FP32).settings


def test_the_tests_that_need_a_gpu_are_found() -> None:
    for place in measure.TESTS:
        assert (ROOT / place).exists()


def test_a_python_that_lacks_a_library_is_told_where_wheels_go(tmp_path: Path) -> None:
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
    bare.chmod(0o755)
    done = subprocess.run(["make", "gpu", f"PYTHON={bare}"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0
    assert f"error: {bare} has no numpy; give a folder of the wheels that it lacks" in done.stderr


def test_a_folder_without_wheels_is_told(tmp_path: Path) -> None:
    words = ["make", "gpu", f"PYTHON={sys.executable}", f"WHEELS={tmp_path}"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0
    assert (
        f"error: no wheels (*.whl) in {tmp_path}; give a folder that holds some: make gpu WHEELS=FOLDER" in done.stderr
    )


def test_without_a_gpu_the_command_says_so() -> None:
    done = subprocess.run(["make", "gpu", f"PYTHON={sys.executable}"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0
    assert "error: no NVIDIA driver here" in done.stderr or "error: the NVIDIA driver" in done.stderr
