"""The table of checks, and one examination of a machine by all of them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from adaptertune_deploy.doctor.checks import (
    cpu,
    cudnn,
    disk,
    driver,
    engines,
    extras,
    jetson,
    memory,
    pairs,
    python,
    tensorrt,
    threads,
    torch,
    unproven,
)
from adaptertune_deploy.doctor.finding import Check, Finding
from adaptertune_deploy.doctor.machine import Machine

# In the order in which a person reads them.
CHECKS: tuple[Check, ...] = (
    python.check,
    cpu.check,
    threads.check,
    memory.check,
    disk.check,
    jetson.check,
    driver.check,
    cudnn.check,
    tensorrt.check,
    pairs.check,
    torch.check,
    engines.check,
    extras.check,
    unproven.check,
)
AT_ONCE = 4  # checks; most of their time is that of the processes they wait for


def examine(machine: Machine) -> list[Finding]:
    """Return what every check finds, in the table's order."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return [finding for found in pool.map(lambda check: list(check(machine)), CHECKS) for finding in found]
