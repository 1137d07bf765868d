"""Engines that work, refuse, answer wrongly, crash, and are not there."""

from __future__ import annotations

import pytest

from adaptertune_deploy.doctor.checks import engines
from adaptertune_deploy.doctor.checks.engines import check
from adaptertune_deploy.doctor.machine import Machine, Ran
from adaptertune_deploy.engines.table import ENGINES
from tests.doctor.fake_machine import PROBES, FakeMachine, answers, found, server

RIGHT = {"version": "1.32.0", "provider": "CPUExecutionProvider", "device": "cpu", "error": 3e-7}
ON_CUDA = {"version": "1.31.1", "provider": "CUDAExecutionProvider", "device": "cuda:0", "error": 2e-6}
CPU = "onnxruntime on cpu"
AFRESH = "in a fresh environment, in a clone of the project: pip install '.[gpu]'"
NO_CUDA = f"this onnxruntime 1.32.0 has no CUDA provider; {AFRESH}"


def on_cpu(**facts: object) -> dict[str, Ran]:
    return answers("engine", "onnxruntime", "cpu", "fp32", **facts)


def on_cuda(**facts: object) -> dict[str, Ran]:
    return answers("engine", "onnxruntime", "cuda", "fp32", **facts)


@pytest.fixture(autouse=True)
def _one_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "ENGINES", {"onnxruntime": ENGINES["onnxruntime"]})


def test_an_engine_that_works() -> None:
    finding = found(check, FakeMachine(programs=on_cpu(**RIGHT)))[CPU]
    assert finding.status == "ok"
    assert finding.found == "1.32.0, CPUExecutionProvider on cpu: a small graph ran, right to 3e-07"


@pytest.mark.parametrize("error", [2e-4, float("nan")])
def test_an_engine_whose_answers_are_wrong(error: float) -> None:
    finding = found(check, FakeMachine(programs=on_cpu(**{**RIGHT, "error": error})))[CPU]
    assert finding.status == "problem"
    assert "answers are wrong by" in finding.found


def test_an_engine_that_crashes_is_one_finding() -> None:
    command = f"/venv/bin/python -m {PROBES}.engine onnxruntime cpu fp32"
    finding = found(check, FakeMachine(programs={command: Ran(-4, "")}))[CPU]
    assert (finding.status, finding.found) == ("problem", "a small graph crashed with SIGILL")
    assert finding.fix == engines.AFRESH


def test_an_engine_that_finds_no_threads_is_not_to_be_installed() -> None:
    command = f"/venv/bin/python -m {PROBES}.engine onnxruntime cpu fp32"
    died = Ran(1, "", "RuntimeError: can't start new thread")
    refusals = "a small graph: ONNX Runtime refuses this graph: pthread_create failed: Resource temporarily unavailable"
    for programs in ({command: died}, on_cpu(refused=refusals)):
        finding = found(check, FakeMachine(programs=programs))[CPU]
        assert (finding.status, finding.fix) == ("problem", engines.THREADS)


def test_an_engine_that_refuses_the_graph_is_not_to_be_installed_again() -> None:
    finding = found(check, FakeMachine(programs=on_cpu(refused="a small graph: no kernel")))[CPU]
    assert (finding.found, finding.fix) == ("a small graph: no kernel", engines.OTHER)


def test_an_engine_that_refuses_says_what_to_do() -> None:
    refused = {"refused": "ONNX Runtime can't be imported (libx.so); install it with: pip install x"}
    finding = found(check, FakeMachine(programs=on_cpu(**refused)))[CPU]
    assert finding.status == "problem"
    assert finding.found == "ONNX Runtime can't be imported (libx.so)"
    assert finding.fix == "install it with: pip install x"


def test_no_engine_at_all() -> None:
    finding = found(check, FakeMachine(programs=on_cpu(absent="onnxruntime")))["engine"]
    assert (finding.status, finding.found) == ("problem", "none for this machine is installed")
    assert finding.fix.startswith("pip install 'adaptertune-deploy[cpu]'")


def test_a_gpu_that_is_there_is_tried() -> None:
    machine = FakeMachine(
        files=server(), packages={"onnxruntime-gpu": "1.31.1"}, programs=on_cpu(**RIGHT) | on_cuda(**ON_CUDA)
    )
    finding = found(check, machine)["onnxruntime on cuda"]
    assert (finding.status, finding.found[:44]) == ("ok", "1.31.1, CUDAExecutionProvider on cuda:0: a s")


@pytest.mark.parametrize(
    ("packages", "status"), [({"onnxruntime": "1"}, "note"), ({"onnxruntime-gpu": "1"}, "problem")]
)
def test_a_gpu_without_its_provider(packages: dict[str, str], status: str) -> None:
    machine = FakeMachine(files=server(), packages=packages, programs=on_cpu(**RIGHT) | on_cuda(refused=NO_CUDA))
    finding = found(check, machine)["onnxruntime on cuda"]
    assert finding.status == status
    assert finding.fix == AFRESH


def test_what_an_engine_derives_by_itself_is_tried_too() -> None:
    for engine, entry in ENGINES.items():
        trials = list(engines.trials(FakeMachine(), engine, entry))
        assert {trial.precision for trial in trials} - {"fp32"} == set(entry.derives)
        devices = {"cpu"} & set(entry.devices)
        assert {trial.device for trial in trials if trial.precision == "fp32"} == devices


def test_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    from adaptertune_deploy.doctor.machine import ThisMachine

    machine: Machine = ThisMachine()
    assert found(check, machine)[CPU].status == "ok"
