"""The interpreter and the system."""

from __future__ import annotations

from collections.abc import Iterator

from adaptertune_deploy.doctor.finding import NOTE, OK, Finding
from adaptertune_deploy.doctor.machine import Machine

TRAINING = (3, 11)  # from here on there are wheels of every library that training and export use
NEWEST_TESTED = (3, 13)


def check(machine: Machine) -> Iterator[Finding]:
    """Say which Python this is, and what it can't do."""
    found = f"{'.'.join(map(str, machine.python))} on {machine.system} {machine.processor} ({machine.interpreter})"
    if machine.python[:2] < TRAINING:
        yield Finding(
            NOTE,
            "Python",
            found,
            "3.11 to 3.13 for atd train and atd export; 3.10 runs the device side",
            "train and export on another machine, or in an environment of Python 3.11 to 3.13",
        )
    elif machine.python[:2] > NEWEST_TESTED:
        yield Finding(NOTE, "Python", found, "3.10 to 3.13, with which the tests ran", "use 3.13 where something fails")
    else:
        yield Finding(OK, "Python", found)
    if machine.system != "Linux":
        yield Finding(
            NOTE, "system", machine.system, "Linux, on which the tests ran", "use Linux where something fails"
        )
