"""The command that measures a GPU, on the CPU and the smallest network: stages, JSON, what is left out."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from adaptertune_deploy.core.errors import EngineError
from benchmarks import gpu

ROOT = Path(__file__).parents[2]
SMALL = ["--models", "vit_pico_patch8_64", "--batches", "1,2", "--rounds", "2", "--device", "cpu"]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    target = tmp_path_factory.mktemp("gpu") / "results" / "gpu.json"
    stages = ["--stages", "machine,training,inference", "--engines", "onnxruntime,tensorrt"]
    gpu.main([*SMALL, *stages, "--json", str(target)])
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
    gpu.main([*SMALL, "--stages", "training", "--seconds", "-1", "--json", str(target)])
    document = json.loads(target.read_text())
    assert document["training"] == []
    assert document["not_measured"] == [
        f"training of vit_pico_patch8_64 in {precision}: no time was left" for precision in ("fp32", "bf16")
    ]


def test_a_stage_that_can_not_run_does_not_end_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(work: gpu.Work) -> None:
        raise EngineError("no such thing")

    def works(work: gpu.Work) -> None:
        work.facts["machine"] = "this one"

    monkeypatch.setattr(gpu, "STAGES", {"inference": fails, "machine": works})
    work = gpu.Work((), (), 1, "cpu", (), tmp_path / "gpu.json", time.monotonic() + 60)
    gpu.measure(work, ["inference", "machine"])
    document = json.loads(work.target.read_text())
    assert document["not_measured"] == ["inference: no such thing"]
    assert document["machine"] == "this one"
    assert set(document["seconds"]) == {"inference", "machine"}


def test_the_tests_that_need_a_gpu_are_found() -> None:
    for place in gpu.TESTS:
        assert (ROOT / place).exists()


def test_a_python_that_lacks_a_library_is_told_where_wheels_go(tmp_path: Path) -> None:
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
    bare.chmod(0o755)
    done = subprocess.run(["make", "gpu", f"PYTHON={bare}"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0
    assert f"error: {bare} has no numpy; give a folder of the wheels that it lacks" in done.stderr


def test_without_a_gpu_the_command_says_so() -> None:
    done = subprocess.run(["make", "gpu", f"PYTHON={sys.executable}"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0
    assert "error: no NVIDIA driver here" in done.stderr or "error: the NVIDIA driver" in done.stderr
