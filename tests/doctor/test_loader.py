from __future__ import annotations

from adaptertune_deploy.doctor.loader import known, loadable
from adaptertune_deploy.doctor.machine import Ran, ThisMachine
from tests.doctor.fake_machine import FakeMachine, libraries


def test_libraries_of_the_cache_and_of_the_variable() -> None:
    machine = FakeMachine(
        programs=libraries("libnvinfer.so.10", "libcudnn.so.9"),
        environment={"LD_LIBRARY_PATH": "/opt/trt::/gone"},
        folders={"/opt/trt": ("libnvinfer.so.11", "README")},
    )
    assert known(machine, r"libnvinfer\.so\.\d+") == ("libnvinfer.so.10", "libnvinfer.so.11")
    assert loadable(machine, "libcudnn.so.9")
    assert not loadable(machine, "libcudnn.so")


def test_an_ldconfig_that_is_not_on_the_path_is_found() -> None:
    there = libraries("libcudnn.so.9")["ldconfig -p"]
    assert loadable(FakeMachine(programs={"/sbin/ldconfig -p": there}), "libcudnn.so.9")
    assert known(FakeMachine(programs={"ldconfig -p": Ran(1, "")}), ".*") == ()


def test_this_machine_has_a_c_library() -> None:
    assert loadable(ThisMachine(), "libc.so.6")
