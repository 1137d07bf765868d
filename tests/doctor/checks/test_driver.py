"""Drivers that are absent, too old, broken or out of reach."""

from __future__ import annotations

import pytest

from adaptertune_deploy.doctor import nvidia
from adaptertune_deploy.doctor.checks.driver import check
from adaptertune_deploy.doctor.machine import Ran
from tests.doctor.fake_machine import FakeMachine, answers, found, gpu, ort_gpu, server, told, torch_for

CARD = {f"{nvidia.PCI}/0000:01:00.0/vendor": "0x10de\n", f"{nvidia.PCI}/0000:01:00.0/class": "0x030200\n"}
BUS = {nvidia.PCI: ("0000:01:00.0",)}
PROBE = "/venv/bin/python -m adaptertune_deploy.doctor.probes.driver"


def test_a_machine_without_a_gpu_has_no_finding() -> None:
    assert told(check, FakeMachine()) == {}


def test_a_card_without_a_driver() -> None:
    assert told(check, FakeMachine(files=CARD, folders=BUS)) == {"NVIDIA driver": "note"}
    machine = FakeMachine(files=CARD, folders=BUS, packages={"onnxruntime-gpu": "1.31.1"}, texts=ort_gpu())
    finding = found(check, machine)["NVIDIA driver"]
    assert finding.status == "problem"
    assert finding.fix.startswith("install NVIDIA's driver 580 or newer")


def test_a_gpu_that_works() -> None:
    machine = FakeMachine(files=server(), programs=gpu(), packages={"onnxruntime-gpu": "1.31.1"}, texts=ort_gpu())
    findings = found(check, machine)
    assert {finding.status for finding in findings.values()} == {"ok"}
    assert findings["NVIDIA driver"].found == "580.95.05, runs CUDA up to 13.0"
    assert findings["GPU 0"].found == "NVIDIA L4, compute capability 8.9, 24.0 GB"


def test_a_driver_too_old_for_cuda_13() -> None:
    packages = {"onnxruntime-gpu": "1.31.1", "torch": "2.15.0", "tensorrt-cu13-libs": "11.4.0"}
    texts = ort_gpu() | torch_for("13.2")
    machine = FakeMachine(files=server("570.86.15"), programs=gpu((12, 8)), packages=packages, texts=texts)
    finding = found(check, machine)["driver and CUDA"]
    assert finding.status == "problem"
    assert finding.found == (
        "driver 570.86.15 runs CUDA 12, but torch 2.15.0, onnxruntime-gpu 1.31.1, tensorrt-cu13-libs 11.4.0 need "
        "CUDA 13"
    )
    assert finding.expected == "driver 580.65.06 or newer"
    assert finding.fix.endswith(
        "or take builds for CUDA 12: pip install 'onnxruntime-gpu<1.27' tensorrt-cu12 and torch's build for CUDA 12 "
        "(pytorch.org/get-started)"
    )


def test_the_same_driver_runs_cuda_12() -> None:
    machine = FakeMachine(
        files=server("570.86.15"), programs=gpu((12, 8)), packages={"onnxruntime-gpu": "1.26.0"}, texts=ort_gpu("12.9")
    )
    assert set(told(check, machine).values()) == {"ok"}


@pytest.mark.parametrize(
    ("refused", "said", "fix"),
    [
        ("no NVIDIA driver here (libcuda.so.1 is not found): install the driver, in a container start it with --gpus "
         "all, or take --engine onnxruntime", "no NVIDIA driver here (libcuda.so.1 is not found)", "--gpus all"),
        ("the NVIDIA driver sees no GPU: look at: nvidia-smi, or x", "the NVIDIA driver sees no GPU", "look at: "),
        ("the NVIDIA driver does not start (CUDA error 803): its parts are of different versions, so reboot",
         "the NVIDIA driver does not start (CUDA error 803)", "so reboot"),
        ("the NVIDIA driver fails at cuX (CUDA error 1)", "fails at cuX", "nvidia-smi"),
    ],
)  # fmt: skip
def test_a_driver_that_does_not_work(refused: str, said: str, fix: str) -> None:
    finding = found(check, FakeMachine(files=server(), programs=answers("driver", refused=refused)))["NVIDIA driver"]
    assert finding.status == "problem"
    assert finding.found.startswith("580.95.05, and ")
    assert said in finding.found
    assert fix in finding.fix


def test_a_driver_that_crashes_whoever_asks() -> None:
    machine = FakeMachine(files=server(), programs={PROBE: Ran(-11, "")})
    assert "crashed with SIGSEGV" in found(check, machine)["NVIDIA driver"].found


def test_a_jetson_takes_its_driver_from_jetpack() -> None:
    machine = FakeMachine(
        files={nvidia.JETSON_FILE: "# R36"},
        programs=gpu((12, 6), "Orin"),
        packages={"tensorrt-cu13": "10.13.3"},
    )
    findings = found(check, machine)
    assert findings["NVIDIA driver"].found == "of a Jetson, runs CUDA up to 12.6"
    assert findings["driver and CUDA"].fix == "take builds for CUDA 12: pip install tensorrt-cu12"
