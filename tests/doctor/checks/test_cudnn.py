from __future__ import annotations

from adaptertune_deploy.doctor.checks.cudnn import check
from tests.doctor.fake_machine import FakeMachine, found, libraries, ort_gpu, told, torch_for

GPU = {"onnxruntime-gpu": "1.31.1"}
ALL_13 = {name: "1" for name in ("nvidia-cudnn-cu13", "nvidia-cublas", "nvidia-curand", "nvidia-cuda-runtime")}


def test_without_the_gpu_build_there_is_nothing_to_find() -> None:
    assert told(check, FakeMachine(packages={"onnxruntime": "1", "torch": "2"}, texts=torch_for("13.0"))) == {}


def test_wheels_of_the_right_cuda() -> None:
    assert set(told(check, FakeMachine(packages=GPU | ALL_13, texts=ort_gpu())).values()) == {"ok"}
    twelve = FakeMachine(packages=GPU | ALL_13, texts=ort_gpu("12.9"))
    assert set(told(check, twelve).values()) == {"problem"}


def test_the_wheels_that_torch_brings_lack_curand() -> None:
    without = {name: number for name, number in ALL_13.items() if name != "nvidia-curand"}
    findings = found(check, FakeMachine(packages=GPU | without, texts=ort_gpu()))
    assert {what: finding.status for what, finding in findings.items() if finding.status != "ok"} == {
        "cuRAND": "problem"
    }
    assert findings["cuRAND"].found == "absent, so the CUDA provider of onnxruntime-gpu 1.31.1 can't load"
    assert findings["cuRAND"].fix.startswith("pip install nvidia-curand;")


def test_libraries_of_the_system_do_as_well() -> None:
    names = ("libcudnn.so.9", "libcublas.so.12", "libcurand.so.10", "libcudart.so.12")
    machine = FakeMachine(packages=GPU, texts=ort_gpu("12.9"), programs=libraries(*names))
    assert found(check, machine)["cuBLAS"].found == "libcublas.so.12 of the system"
    assert set(told(check, machine).values()) == {"ok"}
    thirteen = FakeMachine(packages=GPU, texts=ort_gpu("13.0"), programs=libraries(*names))
    assert told(check, thirteen) == {"cuDNN": "ok", "cuRAND": "ok", "cuBLAS": "problem", "CUDA runtime": "problem"}
