"""Ask a probe in a process of its own, and say in words how it ended where it did not answer."""

from __future__ import annotations

import json
import signal
from typing import Any

from adaptertune_deploy.doctor.machine import PATIENCE, Machine, Ran

PROBES = "adaptertune_deploy.doctor.probes"


def ask(machine: Machine, probe: str, *arguments: str) -> dict[str, Any]:
    """Return what a probe answered; {"refused": why} where it could not, or {"died": how} where it crashed or hung.

    Args:
        machine: where to.
        probe: "engine" or "driver", a module of doctor.probes.
        arguments: its own.
    """
    done = machine.run(machine.interpreter, "-m", f"{PROBES}.{probe}", *arguments)
    if done is None:
        return {"died": f"gave no answer in {PATIENCE} seconds"}
    lines = done.out.splitlines()
    try:
        found = json.loads(lines[-1]) if done.code == 0 and lines else None
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {"died": _how(done)}


def _how(done: Ran) -> str:
    last = next((line.strip() for line in reversed(done.err.splitlines()) if line.strip()), "")
    said = f" ({last:.200})" if last else ""
    if done.code < 0:
        try:
            name = signal.Signals(-done.code).name
        except ValueError:
            name = f"signal {-done.code}"
        return f"crashed with {name}{said}"
    return f"ended with exit code {done.code}{said}"
