"""What a number was measured on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from adaptertune_deploy.core import cores
from adaptertune_deploy.core.extras import ENGINE_EXTRAS, EXTRAS
from adaptertune_deploy.core.processor import processor

# A processor's flags that change how fast a graph runs in some precision; x86 first, then Arm.
FEATURES = (
    *("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8"),
    *("asimdhp", "asimddp", "i8mm", "bf16", "sve"),
)
LIBRARIES = ("torch", "timm", "onnx", "numpy")
ENGINES = tuple(name for extra in ENGINE_EXTRAS for name in EXTRAS[extra] if name != "cuda-bindings")


@dataclass(frozen=True)
class Machine:
    """A machine and what runs on it.

    processor: its name, and what it can do that matters here.
    cores: that this process may use.
    memory_gb: of the whole machine, 10^9 bytes.
    gpus: names of NVIDIA GPUs that have a driver.
    python: version of the interpreter.
    versions: distribution -> version, of engines and of what else changes a number.
    """

    processor: str
    cores: int
    memory_gb: int
    gpus: tuple[str, ...]
    python: str
    versions: dict[str, str]

    @property
    def words(self) -> str:
        """What people read: "2 cores of AMD EPYC avx512f"."""
        return f"{self.cores} cores of {', '.join((self.processor, *self.gpus))}"

    @property
    def engines(self) -> dict[str, str]:
        """The versions of engines alone."""
        return {name: version for name, version in self.versions.items() if name in ENGINES}

    def difference(self, other: Machine) -> str | None:
        """Return in what another machine differs so that times don't carry over, this one first; None where nowhere."""
        if self.processor != other.processor:
            return f"processor {self.processor}, there {other.processor}"
        if self.cores != other.cores:
            return f"{self.cores} cores, there {other.cores}"
        if self.gpus != other.gpus:
            return f"GPUs {', '.join(self.gpus) or 'none'}, there {', '.join(other.gpus) or 'none'}"
        for name in sorted({*self.engines, *other.engines}):
            here, there = (machine.engines.get(name, "none") for machine in (self, other))
            if here != there:
                return f"{name} {here}, there {there}"
        return None


def describe_machine() -> Machine:
    """Return the machine of this process; nothing heavy is imported for it."""
    return Machine(
        processor=processor_name(),
        cores=cores.usable(cores.read_small),
        memory_gb=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        gpus=tuple(_gpus()),
        python=platform.python_version(),
        versions=dict(_versions()),
    )


def processor_name() -> str:
    """Return the processor's name and what it can do that matters here, from /proc; on Arm the board's name."""
    found = processor(cores.read_small)
    board = (cores.read_small("/proc/device-tree/model") or "").strip("\0\n ")
    model = (found.model if found else "") or board or platform.machine()
    return " ".join([model, *(name for name in FEATURES if found and name in found.flags)])


def _versions() -> Iterator[tuple[str, str]]:
    for name in (*LIBRARIES, *ENGINES):
        try:
            yield name, importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue


def _gpus() -> Iterator[str]:
    for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        found = re.search(r"^Model:\s*(.+?)\s*$", cores.read_small(str(path)) or "", re.MULTILINE)
        if found:
            yield found[1]
