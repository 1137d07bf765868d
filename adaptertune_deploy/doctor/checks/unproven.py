"""What this machine has that no release was run on: said, not hidden."""

from __future__ import annotations

from collections.abc import Iterator

from adaptertune_deploy.doctor import nvidia
from adaptertune_deploy.doctor.finding import NOTE, Finding
from adaptertune_deploy.doctor.machine import Machine


def check(machine: Machine) -> Iterator[Finding]:
    """Say so on a Jetson, on a GPU and on Arm."""
    what = None
    if nvidia.is_jetson(machine):
        what = "a Jetson"
    elif nvidia.driver(machine) is not None:
        what = "an NVIDIA GPU"
    elif machine.processor != "x86_64":
        what = f"a processor of kind {machine.processor}"
    if what:
        yield Finding(
            NOTE,
            "not proven",
            f"this is {what}, and nothing of adaptertune-deploy was run on one yet",
            "answers that equal torch's, which atd export and atd add measure on the engine you name",
            "see docs/results/where-it-ran.md; make gpu measures a machine with a GPU",
        )
