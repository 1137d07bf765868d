"""Which commands lack a library, and the extra of the package that brings it."""

from __future__ import annotations

from collections.abc import Iterator

from adaptertune_deploy.core.extras import COMMANDS, ENGINE_EXTRAS, EXTRAS
from adaptertune_deploy.doctor.finding import NOTE, OK, Finding
from adaptertune_deploy.doctor.machine import Machine


def check(machine: Machine) -> Iterator[Finding]:
    """Say for each extra that commands need whether all of it is there."""
    for extra in EXTRAS:
        commands = ", ".join(f"atd {name}" for name, needed in COMMANDS.items() if extra in needed)
        if extra in ENGINE_EXTRAS or not commands:
            continue
        missing = _missing(machine, extra)
        if missing:
            yield Finding(
                NOTE,
                f"extra {extra}",
                f"lacks {', '.join(missing)}",
                f"for {commands}",
                f"where you mean to use them: pip install 'adaptertune-deploy[{extra}]'",
            )
        else:
            yield Finding(OK, f"extra {extra}", f"complete, for {commands}")


def _missing(machine: Machine, extra: str) -> list[str]:
    return [name for name in EXTRAS[extra] if name not in machine.distributions]
