"""What a check may ask of a machine, and the machine that this process runs on."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

PATIENCE = 120  # seconds: opening an engine takes one or two, but TensorRT first builds a plan
READ_LIMIT = 1 << 20  # bytes: what is read here are a system's short text files


@dataclass(frozen=True)
class Ran:
    """How a command ended. code: its exit code, minus the signal's number when one killed it."""

    code: int
    out: str
    err: str = ""


def normalised(name: str) -> str:
    """Return a distribution's name in lower case with hyphens; PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


class Machine(Protocol):
    """The questions that checks ask; a test answers them out of dictionaries.

    Attributes:
        python: version of the interpreter.
        interpreter: its path.
        system: "Linux".
        processor: "x86_64" or "aarch64".
        environment: environment variables.
        cores: logical CPU cores of the machine.
        usable: those of them that this process may run on.
        cache: folder in which this package keeps files for later commands.
    """

    python: tuple[int, int, int]
    interpreter: str
    system: str
    processor: str
    environment: Mapping[str, str]
    cores: int
    usable: int
    cache: str

    @property
    def distributions(self) -> Mapping[str, str]:
        """Installed Python distributions: name in lower case with hyphens -> version."""

    def read(self, path: str) -> str | None:
        """Return a small text file, None where it can't be read."""

    def names(self, folder: str) -> tuple[str, ...]:
        """Return the names in a folder, sorted; none where it can't be read."""

    def packaged(self, distribution: str, file: str) -> str | None:
        """Return a text file of an installed distribution, None where there is none."""

    def run(self, *command: str) -> Ran | None:
        """Run a command to its end; None where there is no such program, or it does not end in `PATIENCE` seconds."""

    def free(self, folder: str) -> int | None:
        """Return the bytes that are free on the disk of a folder, None where it can't be told."""

    def writable(self, folder: str) -> bool:
        """Return whether files can be made in a folder, or in the nearest one above it that exists."""


class ThisMachine:
    """The machine, environment and interpreter of this process."""

    def __init__(self) -> None:
        from adaptertune_deploy.core.storage.cache import cache_folder

        self.python = (sys.version_info.major, sys.version_info.minor, sys.version_info.micro)
        self.interpreter = sys.executable
        self.system = platform.system()
        self.processor = platform.machine()
        self.environment: Mapping[str, str] = dict(os.environ)
        self.cores = os.cpu_count() or 1
        self.usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else self.cores
        self.cache = str(cache_folder(""))

    @cached_property
    def distributions(self) -> Mapping[str, str]:
        """See Machine.distributions."""
        found: dict[str, str] = {}
        for entry in importlib.metadata.distributions():
            name = entry.metadata["Name"]
            if name:  # the first of a name is the one that is imported
                found.setdefault(normalised(name), entry.version)
        return found

    def read(self, path: str) -> str | None:
        """See Machine.read."""
        try:
            with open(path, "rb") as stream:
                return stream.read(READ_LIMIT).decode(errors="replace")
        except (OSError, ValueError):
            return None

    def names(self, folder: str) -> tuple[str, ...]:
        """See Machine.names."""
        try:
            return tuple(sorted(os.listdir(folder)))
        except OSError:
            return ()

    def packaged(self, distribution: str, file: str) -> str | None:
        """See Machine.packaged."""
        try:
            place = importlib.metadata.distribution(distribution).locate_file(file)
        except importlib.metadata.PackageNotFoundError:
            return None
        return self.read(str(place))

    def run(self, *command: str) -> Ran | None:
        """See Machine.run."""
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, errors="replace", timeout=PATIENCE, stdin=subprocess.DEVNULL
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return Ran(done.returncode, done.stdout, done.stderr)

    def free(self, folder: str) -> int | None:
        """See Machine.free."""
        with contextlib.suppress(OSError):
            return shutil.disk_usage(_existing(folder)).free
        return None

    def writable(self, folder: str) -> bool:
        """See Machine.writable."""
        place = _existing(folder)
        return place.is_dir() and os.access(place, os.W_OK | os.X_OK)


def _existing(folder: str) -> Path:
    place = Path(folder).absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    return place
