"""Shared libraries that the system's loader knows."""

from __future__ import annotations

import re

from adaptertune_deploy.doctor.machine import Machine

COMMANDS = (("ldconfig", "-p"), ("/sbin/ldconfig", "-p"))


def known(machine: Machine, pattern: str) -> tuple[str, ...]:
    """Return the names of shared libraries in the loader's cache and LD_LIBRARY_PATH that match a pattern."""
    ran = next((ran for ran in (machine.run(*command) for command in COMMANDS) if ran is not None), None)
    names = re.findall(r"^\s*(\S+) \(", ran.out if ran else "", re.MULTILINE)
    for folder in machine.environment.get("LD_LIBRARY_PATH", "").split(":"):
        names += machine.names(folder) if folder else ()
    return tuple(sorted({name for name in names if re.fullmatch(pattern, name)}))


def loadable(machine: Machine, name: str) -> bool:
    """Return whether the loader finds a library of exactly this name."""
    return bool(known(machine, re.escape(name)))
