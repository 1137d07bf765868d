"""The NVIDIA driver: whether it is there, starts, sees its devices, and runs the CUDA that libraries were built for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from adaptertune_deploy.doctor import nvidia
from adaptertune_deploy.doctor.child import ask
from adaptertune_deploy.doctor.finding import NOTE, OK, PROBLEM, Finding
from adaptertune_deploy.doctor.machine import Machine

WHAT = "NVIDIA driver"
INSTALL = "install NVIDIA's driver 580 or newer (docs/guides/gpu-server.md), then restart the machine"


def check(machine: Machine) -> Iterator[Finding]:
    """Say which driver and devices there are; nothing on a machine without an NVIDIA GPU."""
    number = nvidia.driver(machine)
    needing = nvidia.built_for(machine)
    if number is None and not nvidia.is_jetson(machine):
        if nvidia.on_the_bus(machine):
            status = PROBLEM if needing else NOTE
            yield Finding(status, WHAT, "none, and an NVIDIA GPU is in this machine", "one, to use the GPU", INSTALL)
        return
    answer = ask(machine, "driver")
    trouble = _trouble(answer)
    if trouble:
        found = f"{number or 'of a Jetson'}, and {trouble[0]}"
        yield Finding(PROBLEM, WHAT, found, "one that starts and sees a GPU", trouble[1])
        return
    cuda = tuple(answer["cuda"])
    yield Finding(OK, WHAT, f"{number or 'of a Jetson'}, runs CUDA up to {cuda[0]}.{cuda[1]}")
    for place, device in enumerate(answer["devices"]):
        yield Finding(
            OK,
            f"GPU {place}",
            f"{device['name']}, compute capability {device['capability']}, {device['bytes'] / 1e9:.1f} GB",
        )
    yield from _too_old(machine, number, cuda, needing)


def _trouble(answer: dict[str, Any]) -> tuple[str, str] | None:
    """Return what is wrong and what to do, None where the driver answered."""
    if "died" in answer:
        return f"asking it {answer['died']}", "look at: nvidia-smi and dmesg; restart the machine"
    if "refused" in answer:
        why, _, fix = answer["refused"].partition(": ")
        return why, fix or "look at: nvidia-smi"
    return None


def _too_old(machine: Machine, number: str | None, cuda: tuple[int, ...], needing: dict[str, int]) -> Iterator[Finding]:
    """Name the libraries that were built for a newer CUDA than the driver runs."""
    late = {name: major for name, major in needing.items() if major > cuda[0]}
    if not late:
        return
    newest = max(late.values())
    oldest = nvidia.dotted(nvidia.OLDEST_DRIVER.get(newest, ()))
    yield Finding(
        PROBLEM,
        "driver and CUDA",
        f"driver {number or 'of a Jetson'} runs CUDA {cuda[0]}, but {', '.join(late)} need{'s' * (len(late) == 1)} "
        f"CUDA {newest}",
        f"driver {oldest} or newer" if oldest else f"a driver for CUDA {newest}",
        _older_builds(machine, late) if nvidia.is_jetson(machine) else f"{INSTALL}; or {_older_builds(machine, late)}",
    )


def _older_builds(machine: Machine, late: dict[str, int]) -> str:
    """Return the command that takes builds for CUDA 12 instead."""
    names = {name.split()[0] for name in late}
    wanted = [f"'{nvidia.LAST_OF_CUDA_12}'"] if "onnxruntime-gpu" in names else []
    wanted += sorted({"tensorrt-cu12" for name in names if name.startswith("tensorrt-")})
    parts = [f"pip install {' '.join(wanted)}"] if wanted else []
    parts += ["torch's build for CUDA 12 (pytorch.org/get-started)"] if "torch" in names else []
    return "take builds for CUDA 12: " + " and ".join(parts)
