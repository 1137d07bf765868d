"""The CUDA libraries that ONNX Runtime's CUDA provider loads beside the driver."""

from __future__ import annotations

from collections.abc import Iterator

from adaptertune_deploy.doctor import nvidia
from adaptertune_deploy.doctor.finding import OK, PROBLEM, Finding
from adaptertune_deploy.doctor.loader import loadable
from adaptertune_deploy.doctor.machine import Machine

# what it is called -> distributions that bring it for CUDA 12 and 13, the file that the loader finds it by
LIBRARIES = {
    "cuDNN": ({12: "nvidia-cudnn-cu12", 13: "nvidia-cudnn-cu13"}, "libcudnn.so.9"),
    "cuBLAS": ({12: "nvidia-cublas-cu12", 13: "nvidia-cublas"}, "libcublas.so.{major}"),
    "cuRAND": ({12: "nvidia-curand-cu12", 13: "nvidia-curand"}, "libcurand.so.10"),
    "CUDA runtime": ({12: "nvidia-cuda-runtime-cu12", 13: "nvidia-cuda-runtime"}, "libcudart.so.{major}"),
}


def check(machine: Machine) -> Iterator[Finding]:
    """Say which of these libraries onnxruntime-gpu lacks; nothing where it is not installed."""
    name, major = next(
        ((name, major) for name, major in nvidia.built_for(machine).items() if name.startswith("onnxruntime-gpu")),
        ("", 0),
    )
    if not name:
        return
    for what, (packages, file) in LIBRARIES.items():
        package = packages.get(major, packages[max(packages)])
        library = file.format(major=major)
        if package in machine.distributions:
            yield Finding(OK, what, f"{package} {machine.distributions[package]}")
        elif loadable(machine, library):
            yield Finding(OK, what, f"{library} of the system")
        else:
            yield Finding(
                PROBLEM,
                what,
                f"absent, so the CUDA provider of {name} can't load",
                f"{package}, or {library} where the loader looks",
                f"pip install {package}; all at once: pip install 'adaptertune-deploy[gpu]'",
            )
