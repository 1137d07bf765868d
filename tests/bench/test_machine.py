from __future__ import annotations

import os
import platform
from dataclasses import replace

import numpy
import onnxruntime
import pytest

from adaptertune_deploy.bench import machine
from adaptertune_deploy.bench.machine import Machine, describe_machine

HERE = Machine("A CPU avx2", 4, 16, (), "3.12.1", {"onnxruntime": "1.32.0", "numpy": "2.1.0"})
X86 = "processor\t: 0\nmodel name\t: Some CPU 3000\nflags\t\t: fpu avx2 avx512f avx512_bf16 avx512fancy\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd asimdhp asimddp sve\nCPU implementer : 0x41\n"


def test_this_machine() -> None:
    found = describe_machine()
    assert found.cores <= len(os.sched_getaffinity(0))
    assert (found.python, found.versions["numpy"]) == (platform.python_version(), numpy.__version__)
    assert found.engines["onnxruntime"] == onnxruntime.__version__
    assert "numpy" not in found.engines
    assert found.difference(found) is None
    assert found.words.startswith(f"{found.cores} cores of ")


@pytest.mark.parametrize(
    ("files", "name"),
    [
        ({"/proc/cpuinfo": X86}, "Some CPU 3000 avx2 avx512f avx512_bf16"),
        ({"/proc/cpuinfo": ARM, "/proc/device-tree/model": "Board X\0"}, "Board X asimdhp asimddp sve"),
        ({"/proc/cpuinfo": ARM}, f"{platform.machine()} asimdhp asimddp sve"),
        ({}, platform.machine()),
    ],
)
def test_a_processor_is_named_with_what_it_can_do(
    monkeypatch: pytest.MonkeyPatch, files: dict[str, str], name: str
) -> None:
    monkeypatch.setattr(machine.cores, "read_small", files.get)
    assert machine.processor_name() == name


@pytest.mark.parametrize(
    ("there", "said"),
    [
        (replace(HERE, memory_gb=32, python="3.11.0", versions={**HERE.versions, "numpy": "1.0"}), None),
        (replace(HERE, processor="B"), "processor A CPU avx2, there B"),
        (replace(HERE, cores=8), "4 cores, there 8"),
        (replace(HERE, gpus=("Fast",)), "GPUs none, there Fast"),
        (replace(HERE, versions={"onnxruntime": "1.31.0"}), "onnxruntime 1.32.0, there 1.31.0"),
        (replace(HERE, versions={**HERE.versions, "openvino": "2026.1"}), "openvino none, there 2026.1"),
    ],
)
def test_another_machine_is_one_whose_times_are_others(there: Machine, said: str | None) -> None:
    assert HERE.difference(there) == said
