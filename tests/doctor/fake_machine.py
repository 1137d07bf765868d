"""A machine out of dictionaries: files, programs, packages."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from adaptertune_deploy.doctor.finding import Finding
from adaptertune_deploy.doctor.machine import Machine, Ran

PROBES = "adaptertune_deploy.doctor.probes"


@dataclass
class FakeMachine:
    """Keeps doctor.machine.Machine.

    files: path -> text. folders: path -> names in it. programs: command line -> how it ends.
    packages: distribution -> version. texts: (distribution, file) -> text.
    """

    python: tuple[int, int, int] = (3, 12, 3)
    interpreter: str = "/venv/bin/python"
    system: str = "Linux"
    processor: str = "x86_64"
    environment: Mapping[str, str] = field(default_factory=dict)
    cores: int = 8
    usable: int = 8
    cache: str = "/home/u/.cache/adaptertune-deploy"
    files: Mapping[str, str] = field(default_factory=dict)
    folders: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    programs: Mapping[str, Ran] = field(default_factory=dict)
    packages: Mapping[str, str] = field(default_factory=dict)
    texts: Mapping[tuple[str, str], str] = field(default_factory=dict)
    room: int | None = 50_000_000_000
    locked: tuple[str, ...] = ()

    @property
    def distributions(self) -> Mapping[str, str]:
        return self.packages

    def read(self, path: str) -> str | None:
        return self.files.get(path)

    def names(self, folder: str) -> tuple[str, ...]:
        return self.folders.get(folder, ())

    def packaged(self, distribution: str, file: str) -> str | None:
        return self.texts.get((distribution, file)) if distribution in self.packages else None

    def run(self, *command: str) -> Ran | None:
        return self.programs.get(" ".join(command))

    def free(self, folder: str) -> int | None:
        return self.room

    def writable(self, folder: str) -> bool:
        return folder not in self.locked


def answers(probe: str, *arguments: str, **facts: object) -> dict[str, Ran]:
    """Return a program: the probe that answers with these facts."""
    command = " ".join(["/venv/bin/python", "-m", f"{PROBES}.{probe}", *arguments])
    return {command: Ran(0, "a library's chatter\n" + json.dumps(facts) + "\n")}


def libraries(*names: str) -> dict[str, Ran]:
    """Return a program: ldconfig, which knows these shared libraries."""
    lines = [f"\t{name} (libc6,x86-64) => /usr/lib/{name}" for name in names]
    return {"ldconfig -p": Ran(0, "\n".join(["3 libs found in cache `/etc/ld.so.cache'", *lines]))}


def server(driver: str = "580.95.05") -> dict[str, str]:
    """Return the files of a server whose GPU has this driver."""
    line = f"NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {driver}  Release Build  (dvs-builder@x)  Tue"
    return {"/proc/driver/nvidia/version": line}


def gpu(cuda: tuple[int, int] = (13, 0), name: str = "NVIDIA L4") -> dict[str, Ran]:
    """Return a program: the probe of a driver that sees one GPU."""
    return answers("driver", cuda=cuda, devices=[{"name": name, "capability": "8.9", "bytes": 24_000_000_000}])


ORT_GPU_INFO = ("onnxruntime-gpu", "onnxruntime/capi/build_and_package_info.py")
TORCH_VERSION = ("torch", "torch/version.py")


def ort_gpu(cuda: str = "13.0") -> dict[tuple[str, str], str]:
    return {ORT_GPU_INFO: f"package_name = 'onnxruntime-gpu'\n__version__ = '1.31.1'\ncuda_version = '{cuda}'\n"}


def torch_for(cuda: str | None) -> dict[tuple[str, str], str]:
    shown = f"'{cuda}'" if cuda else "None"
    return {TORCH_VERSION: f"__version__ = '2.10.0'\ndebug = False\ncuda: Optional[str] = {shown}\nhip = None\n"}


def found(check: Callable[[Machine], Iterable[Finding]], machine: Machine) -> dict[str, Finding]:
    """Return a check's findings by subject; each subject once."""
    findings = list(check(machine))
    assert len({finding.what for finding in findings}) == len(findings)
    return {finding.what: finding for finding in findings}


def told(check: Callable[[Machine], Iterable[Finding]], machine: Machine) -> dict[str, str]:
    """Return the status of each subject."""
    return {what: finding.status for what, finding in found(check, machine).items()}
