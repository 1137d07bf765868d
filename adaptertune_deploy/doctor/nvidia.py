"""What several checks have to know of NVIDIA's software: the driver, and the CUDA that each library was built for."""

from __future__ import annotations

import re
from collections.abc import Mapping

from adaptertune_deploy.doctor.machine import Machine

DRIVER_FILE = "/proc/driver/nvidia/version"
JETSON_FILE = "/etc/nv_tegra_release"
PCI = "/sys/bus/pci/devices"
NVIDIA = "0x10de"  # its vendor number on the PCI bus
DISPLAY = "0x03"  # class of a device that draws or computes
# CUDA's major version -> the oldest Linux driver that runs it (docs.nvidia.com/cuda/cuda-toolkit-release-notes).
OLDEST_DRIVER: Mapping[int, tuple[int, ...]] = {12: (525, 60, 13), 13: (580, 65, 6)}
LAST_OF_CUDA_12 = "onnxruntime-gpu<1.27"  # from 1.27 on its wheels are built for CUDA 13


def version(text: str) -> tuple[int, ...]:
    """Return the numbers that a version begins with: "580.65.06" -> (580, 65, 6)."""
    found = re.match(r"\d+(?:\.\d+)*", text.strip())
    return tuple(map(int, found[0].split("."))) if found else ()


def driver(machine: Machine) -> str | None:
    """Return the version of the kernel's NVIDIA driver, None where none is loaded."""
    found = re.search(r"Kernel Module(?: for \S+)?\s+(\d+(?:\.\d+)+)", machine.read(DRIVER_FILE) or "")
    return found[1] if found else None


def is_jetson(machine: Machine) -> bool:
    """Return whether NVIDIA's Linux for Jetson runs here."""
    return machine.read(JETSON_FILE) is not None


def on_the_bus(machine: Machine) -> bool:
    """Return whether an NVIDIA GPU sits on the PCI bus, with a driver or without."""
    for place in machine.names(PCI):
        vendor, kind = (machine.read(f"{PCI}/{place}/{name}") or "" for name in ("vendor", "class"))
        if vendor.strip() == NVIDIA and kind.startswith(DISPLAY):
            return True
    return False


def has_gpu(machine: Machine) -> bool:
    """Return whether an NVIDIA GPU can be expected to work here."""
    return driver(machine) is not None or is_jetson(machine)


def built_for(machine: Machine) -> dict[str, int]:
    """Return the installed libraries that need CUDA, "torch 2.10.0" for example, and the major version of each."""
    told = {
        "torch": (machine.packaged("torch", "torch/version.py"), r"^cuda\b.*= '(\d+)"),
        "onnxruntime-gpu": (
            machine.packaged("onnxruntime-gpu", "onnxruntime/capi/build_and_package_info.py"),
            r"^cuda_version = ['\"](\d+)",
        ),
    }
    found = {}
    for name, (text, pattern) in told.items():
        match = re.search(pattern, text or "", re.MULTILINE)
        if match:
            found[f"{name} {machine.distributions.get(name, '')}".strip()] = int(match[1])
    for name, number in machine.distributions.items():
        match = re.fullmatch(r"(tensorrt-cu(\d+))(?:-libs|-bindings)?", name)
        if match and (name == match[1] or match[1] not in machine.distributions):  # one line for what belongs together
            found[f"{name} {number}"] = int(match[2])
    return found


def dotted(numbers: tuple[int, ...]) -> str:
    """Return a driver's version as NVIDIA writes it, "580.65.06"."""
    return ".".join(f"{number:02d}" if place else str(number) for place, number in enumerate(numbers))
