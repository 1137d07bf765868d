from __future__ import annotations

from adaptertune_deploy.doctor import nvidia
from adaptertune_deploy.doctor.checks.tensorrt import bindings, check
from tests.doctor.fake_machine import FakeMachine, found, libraries, server, told

JETSON = {nvidia.JETSON_FILE: "# R36"}


def test_without_a_gpu_there_is_nothing_to_find() -> None:
    assert told(check, FakeMachine()) == {}


def test_it_is_optional() -> None:
    assert told(check, FakeMachine(files=server())) == {"TensorRT": "note"}


def test_wheels_bring_bindings_and_libraries() -> None:
    packages = {"tensorrt": "11.4.0.106", "tensorrt-cu13-libs": "11.4.0.106"}
    assert found(check, FakeMachine(packages=packages))["TensorRT"].found == "11.4.0.106"
    beside = FakeMachine(packages=packages, programs=libraries("libnvinfer.so.10"))
    assert told(check, beside) == {"TensorRT": "ok"}


def test_a_version_that_is_too_old() -> None:
    finding = found(check, FakeMachine(files=JETSON, packages={"tensorrt": "8.6.2"}))["TensorRT"]
    assert (finding.status, finding.expected) == ("problem", "10.3 or newer")
    assert finding.fix.startswith("on a Jetson, flash JetPack 6.2 or newer; elsewhere: pip install --upgrade")


def test_bindings_that_do_not_fit_the_libraries() -> None:
    machine = FakeMachine(packages={"tensorrt": "11.4.0"}, programs=libraries("libnvinfer.so.10"))
    finding = found(check, machine)["TensorRT"]
    assert finding.status == "problem"
    assert finding.found == "bindings 11.4.0 beside libnvinfer.so.10 of the system"
    assert finding.fix.endswith("use the system's with: python3 -m venv --system-site-packages")


def test_an_environment_that_does_not_see_the_systems_packages() -> None:
    machine = FakeMachine(
        python=(3, 10, 12),
        files=JETSON,
        folders={"/usr/lib/python3.10/dist-packages": ("numpy", "tensorrt")},
        programs=libraries("libnvinfer.so.10"),
    )
    finding = found(check, machine)["TensorRT"]
    assert finding.status == "problem"
    assert finding.fix == "make it again: python3 -m venv --system-site-packages VENV"


def test_libraries_without_bindings() -> None:
    machine = FakeMachine(files=JETSON, programs=libraries("libnvinfer.so.10"))
    finding = found(check, machine)["TensorRT"]
    assert (finding.status, finding.found) == ("note", "libnvinfer.so.10 without bindings for Python 3.12")
    assert finding.fix.startswith("apt-get install python3-libnvinfer")


def test_which_bindings_are_imported() -> None:
    assert bindings(FakeMachine(packages={"tensorrt-cu12-bindings": "10.3.0"})) == "10.3.0"
    assert bindings(FakeMachine(packages={"tensorrt-rtx": "1.7"})) is None
    # After pip install 'tensorrt-cu13<11' beside tensorrt 11, whose package of that name stays.
    downgraded = {"tensorrt": "11.4.0", "tensorrt-cu13": "10.13.3", "tensorrt-cu13-bindings": "10.13.3"}
    assert bindings(FakeMachine(packages=downgraded)) == "10.13.3"
