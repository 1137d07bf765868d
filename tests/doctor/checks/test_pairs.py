from __future__ import annotations

from adaptertune_deploy.doctor.checks.pairs import check
from tests.doctor.fake_machine import FakeMachine, found, server, told

BOTH = {"onnxruntime": "1.32.0", "onnxruntime-gpu": "1.31.1"}


def test_nothing_to_find() -> None:
    assert told(check, FakeMachine(packages={"onnxruntime": "1.32.0", "torch": "2.15.0"})) == {}


def test_two_wheels_of_onnxruntime() -> None:
    finding = found(check, FakeMachine(packages=BOTH))["ONNX Runtime"]
    assert finding.status == "problem"
    assert finding.found == "onnxruntime 1.32.0 and onnxruntime-gpu 1.31.1 lie in one folder"
    assert finding.fix == (
        "pip uninstall --yes onnxruntime onnxruntime-gpu, then: pip install 'adaptertune-deploy[cpu]'"
    )
    with_gpu = found(check, FakeMachine(packages=BOTH, files=server()))["ONNX Runtime"]
    assert with_gpu.fix.endswith("pip install 'adaptertune-deploy[gpu]'")


def test_onnxruntime_gpu_beside_tensorrt_11() -> None:
    packages = {"onnxruntime-gpu": "1.31.1", "tensorrt": "11.4.0.106", "tensorrt-cu13": "11.4.0.106"}
    finding = found(check, FakeMachine(packages=packages))["onnxruntime-gpu and TensorRT"]
    assert finding.status == "problem"
    assert finding.fix == "pip install 'tensorrt-cu13>=10.13.3,<11', or leave -E provider=tensorrt out"
    fitting = FakeMachine(packages={**packages, "tensorrt": "10.16.1", "tensorrt-cu13": "10.16.1"})
    assert told(check, fitting) == {}
    assert told(check, FakeMachine(packages={"onnxruntime": "1.32.0", "tensorrt": "11.4.0"})) == {}


def test_tensorrt_for_two_cudas() -> None:
    packages = {
        "tensorrt": "10.13", "tensorrt-cu12": "10.13", "tensorrt-cu12-bindings": "10.13", "tensorrt-cu12-libs": "10.13",
        "tensorrt-cu13-bindings": "10.13",
    }  # fmt: skip
    finding = found(check, FakeMachine(packages=packages))["TensorRT"]
    assert finding.found == "tensorrt-cu12-bindings and tensorrt-cu13-bindings lie in one folder"
    assert finding.fix == (
        "pip uninstall --yes tensorrt tensorrt-cu12 tensorrt-cu12-bindings tensorrt-cu12-libs tensorrt-cu13-bindings, "
        "then: pip install tensorrt-cu13"
    )
