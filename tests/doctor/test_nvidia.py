from __future__ import annotations

import pytest

from adaptertune_deploy.doctor import nvidia
from tests.doctor.fake_machine import FakeMachine, ort_gpu, server, torch_for

CLOSED = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC 2024\nGCC version: 12"
JETSON = "NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  540.4.0  Release Build  (buildbrain@x)  Tue"


def test_versions() -> None:
    assert nvidia.version("580.65.06") == (580, 65, 6)
    assert nvidia.version(" 11.4.0.106+x") == (11, 4, 0, 106)
    assert nvidia.version("none") == ()
    assert nvidia.dotted((580, 65, 6)) == "580.65.06"


@pytest.mark.parametrize(
    ("text", "number"), [(CLOSED, "535.183.01"), (JETSON, "540.4.0"), ("something else", None), (None, None)]
)
def test_the_kernel_says_which_driver_it_has(text: str | None, number: str | None) -> None:
    files = {nvidia.DRIVER_FILE: text} if text else {}
    assert nvidia.driver(FakeMachine(files=files)) == number


def test_a_gpu_is_a_driver_or_a_jetson() -> None:
    assert nvidia.has_gpu(FakeMachine(files=server()))
    assert nvidia.has_gpu(FakeMachine(files={nvidia.JETSON_FILE: "# R36"}))
    assert not nvidia.has_gpu(FakeMachine())


@pytest.mark.parametrize(
    ("vendor", "kind", "there"),
    [("0x10de", "0x030200", True), ("0x10de", "0x0c0330", False), ("0x8086", "0x030000", False)],
)
def test_the_bus(vendor: str, kind: str, there: bool) -> None:
    place = f"{nvidia.PCI}/0000:01:00.0"
    files = {f"{place}/vendor": f"{vendor}\n", f"{place}/class": f"{kind}\n"}
    machine = FakeMachine(files=files, folders={nvidia.PCI: ("0000:00:00.0", "0000:01:00.0")})
    assert nvidia.on_the_bus(machine) is there


def test_the_cuda_of_each_library() -> None:
    packages = {"torch": "2.10.0", "onnxruntime-gpu": "1.31.1", "tensorrt-cu12-libs": "10.3.0", "numpy": "2"}
    machine = FakeMachine(packages=packages, texts=ort_gpu() | torch_for("12.9"))
    assert nvidia.built_for(machine) == {
        "torch 2.10.0": 12,
        "onnxruntime-gpu 1.31.1": 13,
        "tensorrt-cu12-libs 10.3.0": 12,
    }
    assert nvidia.built_for(FakeMachine(packages=packages, texts=torch_for(None))) == {"tensorrt-cu12-libs 10.3.0": 12}


def test_packages_of_one_tensorrt_are_named_once() -> None:
    packages = {f"tensorrt-cu13{part}": "11.4.0" for part in ("", "-libs", "-bindings")}
    assert nvidia.built_for(FakeMachine(packages=packages)) == {"tensorrt-cu13 11.4.0": 13}


def test_the_files_that_are_read_are_those_that_the_wheels_hold() -> None:
    from adaptertune_deploy.doctor.machine import ThisMachine

    torch = pytest.importorskip("torch")
    cuda = torch.version.cuda
    found = {name.split()[0]: major for name, major in nvidia.built_for(ThisMachine()).items()}
    assert found.get("torch") == (int(cuda.split(".")[0]) if cuda else None)
