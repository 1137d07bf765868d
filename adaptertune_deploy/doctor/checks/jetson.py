"""Jetson: JetPack, what belongs to it, and the power mode."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from adaptertune_deploy.doctor import nvidia
from adaptertune_deploy.doctor.checks.tensorrt import bindings
from adaptertune_deploy.doctor.finding import NOTE, OK, PROBLEM, Finding
from adaptertune_deploy.doctor.machine import Machine

MODEL = "/proc/device-tree/model"
FULL_POWER = "MAXN"


@dataclass(frozen=True)
class JetPack:
    """One release. l4t: (major, minor) of the first L4T in it; python: of its Ubuntu; tensorrt: "" where too old."""

    name: str
    l4t: tuple[int, int]
    python: tuple[int, int]
    cuda: str
    tensorrt: str


# Newest first. Sources: docs/guides/jetson.md.
JETPACKS = (
    JetPack("7.2", (39, 2), (3, 12), "13.2", "10.16"),
    JetPack("7.1", (38, 4), (3, 12), "13.0", "10.13"),
    JetPack("7.0", (38, 2), (3, 12), "13.0", "10.13"),
    JetPack("6.1 or 6.2", (36, 4), (3, 10), "12.6", "10.3"),
    JetPack("6.0", (36, 2), (3, 10), "12.2", ""),
    JetPack("5", (35, 0), (3, 8), "11.4", ""),
)


def check(machine: Machine) -> Iterator[Finding]:
    """Say which JetPack this is and what of it does not fit; nothing where this is no Jetson."""
    text = machine.read(nvidia.JETSON_FILE)
    if text is None:
        return
    board = (machine.read(MODEL) or "unknown board").strip("\0\n ")
    l4t = _l4t(text)
    jetpack = next((entry for entry in JETPACKS if l4t >= entry.l4t), None)
    said = f"{board}, L4T {'.'.join(map(str, l4t)) or 'unknown'}"
    if jetpack is None or not jetpack.tensorrt:
        yield Finding(
            PROBLEM,
            "JetPack",
            f"{said}, JetPack {jetpack.name if jetpack else 'older than 5'}",
            "JetPack 6.1 or newer, whose TensorRT is 10.3 or newer and whose Python is 3.10 or newer",
            "flash JetPack 6.2 (Orin) or 7 (Orin, Thor); a Xavier gets none, and answers on its CPU in a container",
        )
    else:
        yield Finding(
            OK, "JetPack", f"{said}, JetPack {jetpack.name}: CUDA {jetpack.cuda}, TensorRT {jetpack.tensorrt}"
        )
        yield from _fits(machine, jetpack)
    yield from _power(machine)


def _l4t(text: str) -> tuple[int, ...]:
    """Return L4T's version out of "# R36 (release), REVISION: 4.3, ...", () where it is written otherwise."""
    found = re.search(r"R(\d+)\s*\(release\),\s*REVISION:\s*(\d+)(?:\.(\d+))?", text)
    return tuple(int(part) for part in found.groups() if part is not None) if found else ()


def _fits(machine: Machine, jetpack: JetPack) -> Iterator[Finding]:
    if machine.python[:2] != jetpack.python:
        wanted = ".".join(map(str, jetpack.python))
        yield Finding(
            PROBLEM,
            "Python of JetPack",
            f"{machine.python[0]}.{machine.python[1]}, which the system's TensorRT has no bindings for",
            f"{wanted}, JetPack {jetpack.name}'s own",
            f"make the environment again: /usr/bin/python{wanted} -m venv --system-site-packages VENV",
        )
    number = bindings(machine)
    if number and nvidia.version(number)[0] >= 11 and jetpack.l4t < (39, 2):
        yield Finding(
            PROBLEM,
            "TensorRT of JetPack",
            f"{number}, which does not support JetPack {jetpack.name}",
            f"the system's {jetpack.tensorrt}",
            "pip uninstall tensorrt and use the system's: python3 -m venv --system-site-packages VENV",
        )


def _power(machine: Machine) -> Iterator[Finding]:
    ran = machine.run("nvpmodel", "-q")
    found = re.search(r"NV Power Mode:\s*(\S+)", ran.out if ran else "")
    if found is None:
        yield Finding(NOTE, "power mode", "unknown", "what nvpmodel says, as root perhaps", "sudo nvpmodel -q")
    elif found[1].startswith(FULL_POWER):
        yield Finding(OK, "power mode", found[1])
    else:
        yield Finding(
            NOTE,
            "power mode",
            f"{found[1]}, which holds clocks back",
            "a measurement names the mode it was taken in; MAXN modes are the fastest",
            "look at the modes in /etc/nvpmodel.conf, then: sudo nvpmodel -m NUMBER && sudo jetson_clocks",
        )
