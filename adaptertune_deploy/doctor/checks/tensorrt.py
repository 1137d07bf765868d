"""TensorRT: bindings in the environment, libraries of the system, and whether they fit each other."""

from __future__ import annotations

import re
from collections.abc import Iterator

from adaptertune_deploy.doctor import nvidia
from adaptertune_deploy.doctor.finding import NOTE, OK, PROBLEM, Finding
from adaptertune_deploy.doctor.loader import known
from adaptertune_deploy.doctor.machine import Machine

# What holds the module first: the packages around it keep their version when another one of it is installed.
BINDINGS = ("tensorrt-cu13-bindings", "tensorrt-cu12-bindings", "tensorrt-cu13", "tensorrt-cu12", "tensorrt")
OLDEST = (10, 3)
SYSTEM = "/usr/lib/python3/dist-packages", "/usr/lib/python3.{minor}/dist-packages"


def check(machine: Machine) -> Iterator[Finding]:
    """Say which TensorRT there is; nothing on a machine without an NVIDIA GPU and without TensorRT."""
    number = bindings(machine)
    if number is None and not nvidia.has_gpu(machine):
        return
    library = _libraries(machine)
    if number is None:
        yield from _without_bindings(machine, library)
        return
    if nvidia.version(number)[:2] < OLDEST:
        yield Finding(
            PROBLEM,
            "TensorRT",
            number,
            f"{OLDEST[0]}.{OLDEST[1]} or newer",
            "on a Jetson, flash JetPack 6.2 or newer; elsewhere: pip install --upgrade tensorrt",
        )
    elif library and nvidia.version(number)[0] not in library and not _libs(machine):
        yield Finding(
            PROBLEM,
            "TensorRT",
            f"bindings {number} beside libnvinfer.so.{', '.join(map(str, sorted(library)))} of the system",
            "both of one version",
            "pip uninstall the bindings and use the system's with: python3 -m venv --system-site-packages",
        )
    else:
        yield Finding(OK, "TensorRT", number)


def bindings(machine: Machine) -> str | None:
    """Return the version of the bindings that `import tensorrt` finds, None where there are none."""
    return next((machine.distributions[name] for name in BINDINGS if name in machine.distributions), None)


def _without_bindings(machine: Machine, library: set[int]) -> Iterator[Finding]:
    places = [place.format(minor=machine.python[1]) for place in SYSTEM]
    if any("tensorrt" in machine.names(place) for place in places):
        yield Finding(
            PROBLEM,
            "TensorRT",
            "the system's bindings are not visible in this environment",
            "an environment that sees the system's packages",
            "make it again: python3 -m venv --system-site-packages VENV",
        )
    elif library:
        yield Finding(
            NOTE,
            "TensorRT",
            f"libnvinfer.so.{max(library)} without bindings for Python {machine.python[0]}.{machine.python[1]}",
            "bindings, for --engine tensorrt",
            "apt-get install python3-libnvinfer, and the system's Python",
        )
    else:
        yield Finding(
            NOTE,
            "TensorRT",
            "not installed",
            "only for --engine tensorrt",
            "see docs/guides/gpu-server.md for versions",
        )


def _libraries(machine: Machine) -> set[int]:
    """Return the major versions of libnvinfer that the loader knows."""
    return {int(name.rsplit(".", 1)[1]) for name in known(machine, r"libnvinfer\.so\.\d+")}


def _libs(machine: Machine) -> bool:
    """Return whether the bindings bring libraries of their own."""
    return any(re.fullmatch(r"tensorrt(-cu\d+)?-libs", name) for name in machine.distributions)
