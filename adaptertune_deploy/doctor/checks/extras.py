"""Which commands lack a library, and the extra of the package that brings it."""

from __future__ import annotations

from collections.abc import Iterator

from adaptertune_deploy.core.extras import COMMANDS, ENGINE_EXTRAS, EXTRAS
from adaptertune_deploy.doctor.finding import NOTE, OK, Finding
from adaptertune_deploy.doctor.machine import Machine, normalised


def check(machine: Machine) -> Iterator[Finding]:
    """Say for each extra that commands need whether all of it is there; none of it may be meant, a part never is."""
    for extra in EXTRAS:
        commands = ", ".join(f"atd {name}" for name, needed in COMMANDS.items() if extra in needed)
        if extra in ENGINE_EXTRAS or not commands:
            continue
        what, missing = f"extra {extra}", _missing(machine, extra)
        install = f"pip install 'adaptertune-deploy[{extra}]'"
        if not missing:
            yield Finding(OK, what, f"complete, for {commands}")
        elif len(missing) == len(EXTRAS[extra]):
            yield Finding(OK, what, f"not installed; for {commands}: {install}")
        else:
            yield Finding(NOTE, what, f"lacks {', '.join(missing)}", f"all of it, for {commands}", install)


def _missing(machine: Machine, extra: str) -> list[str]:
    return [name for name in EXTRAS[extra] if normalised(name) not in machine.distributions]
