"""Packages that spoil each other, though each installs without a word."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from adaptertune_deploy.doctor import nvidia
from adaptertune_deploy.doctor.checks.tensorrt import bindings
from adaptertune_deploy.doctor.finding import PROBLEM, Finding
from adaptertune_deploy.doctor.machine import Machine

RUNTIMES = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml")


def check(machine: Machine) -> Iterator[Finding]:
    """Name the pairs that are installed."""
    for pair in PAIRS:
        found = pair(machine)
        if found is not None:
            yield found


def two_runtimes(machine: Machine) -> Finding | None:
    """Wheels of ONNX Runtime write one module: what was unpacked last wins, and removing either breaks the other."""
    held = [name for name in RUNTIMES if name in machine.distributions]
    if len(held) < 2:
        return None
    wanted = "gpu" if "onnxruntime-gpu" in held and nvidia.has_gpu(machine) else "cpu"
    return Finding(
        PROBLEM,
        "ONNX Runtime",
        f"{' and '.join(f'{name} {machine.distributions[name]}' for name in held)} lie in one folder",
        "one of them",
        f"pip uninstall --yes {' '.join(held)}, then: pip install 'adaptertune-deploy[{wanted}]'",
    )


def runtime_and_tensorrt(machine: Machine) -> Finding | None:
    """The TensorRT provider in the wheels of onnxruntime-gpu loads libnvinfer.so.10, and no other."""
    number = bindings(machine)
    runtime = machine.distributions.get("onnxruntime-gpu")
    if runtime is None or number is None or nvidia.version(number)[0] < 11:
        return None
    cuda = "cu12" if any(name.startswith("tensorrt-cu12") for name in machine.distributions) else "cu13"
    return Finding(
        PROBLEM,
        "onnxruntime-gpu and TensorRT",
        f"TensorRT {number} beside onnxruntime-gpu {runtime}, whose TensorRT provider loads TensorRT 10 only",
        "TensorRT 10 beside onnxruntime-gpu; --engine tensorrt runs with either",
        f"pip install 'tensorrt-{cuda}>=10.13.3,<11', or leave -E provider=tensorrt out",
    )


def two_tensorrts(machine: Machine) -> Finding | None:
    """Bindings for CUDA 12 and for CUDA 13 write one module."""
    held = sorted(name for name in machine.distributions if re.fullmatch(r"tensorrt-cu\d+-bindings", name))
    if len(held) < 2:
        return None
    packages = [name.removesuffix("-bindings") for name in held]
    everything = [name for name in machine.distributions if name.startswith(tuple(packages)) or name == "tensorrt"]
    return Finding(
        PROBLEM,
        "TensorRT",
        f"{' and '.join(held)} lie in one folder",
        "one of them, for the CUDA that the driver runs",
        f"pip uninstall --yes {' '.join(sorted(everything))}, then: pip install {packages[-1]}",
    )


PAIRS: tuple[Callable[[Machine], Finding | None], ...] = (two_runtimes, runtime_and_tensorrt, two_tensorrts)
