"""Cores that this process may use, against the threads that libraries start."""

from __future__ import annotations

from collections.abc import Iterator

from adaptertune_deploy.core import cores as usable
from adaptertune_deploy.doctor.finding import NOTE, OK, Finding
from adaptertune_deploy.doctor.machine import Machine

VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def check(machine: Machine) -> Iterator[Finding]:
    """Say where an engine would start more threads than it has cores, and where variables hold threads back."""
    quota = usable.quota(machine.read)
    cores = usable.within(machine.usable, quota)
    if cores < machine.cores:
        why = f"a quota of {quota:g} cores" if quota and cores < machine.usable else "its CPU affinity"
        yield Finding(
            NOTE,
            "threads",
            f"this process has {cores} of {machine.cores} cores by {why}",
            "as many threads as cores; an engine left to itself counts those of the machine and slows itself down",
            f"--threads {cores} with atd serve and atd predict",
        )
    else:
        yield Finding(OK, "threads", f"all {machine.cores} cores are this process's")
    held = {name: machine.environment[name] for name in VARIABLES if machine.environment.get(name)}
    if held:
        yield Finding(
            NOTE,
            "thread variables",
            ", ".join(f"{name}={value}" for name, value in held.items()),
            "none, unless you mean to hold training and preprocessing to that many threads",
            f"unset {' '.join(held)}",
        )
