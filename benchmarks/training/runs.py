"""What pages say of training runs: how many images they got right, where they ran, and which were not run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

BUSY = "Times are of whole runs, which may have had other work beside them; compare none."


def counted(measure: dict[str, Any]) -> str:
    """Return right answers, accuracy and its interval: "63 = 85.1 % [75.3, 91.5]"."""
    low, high = measure["top1_interval"]
    return f"{measure['right']:,} = {100 * measure['top1']:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"


def machines(runs: Sequence[dict[str, Any]], said: str = "") -> list[str]:
    """Return a paragraph that names every machine on which one of these ran, [] where there are none.

    Args:
        runs: what `atd train --json` printed, with "threads" and "machine".
        said: ends the paragraph.
    """
    named: dict[tuple[str, str], dict[str, None]] = {}
    for run in runs:
        machine = run["machine"]
        where = f"{machine['cores']} cores of {machine['processor']}, {machine['memory_gb']} GB"
        how = named.setdefault((f"{where}, torch {machine['versions']['torch']}", _threads(run["threads"])), {})
        if run["recipe"] is not None:  # of a run that ships the head of a search, none was trained
            how[run["recipe"]["precision"]] = None
    told = [", ".join([where, *how, f"{threads} a training"]) for (where, threads), how in named.items()]
    return [f"Measured on {'; '.join(told)}. {said}".rstrip()] if told else []


def _threads(number: int) -> str:
    return "1 thread" if number == 1 else f"{number} threads"


def not_run(absent: Sequence[str]) -> list[str]:
    """Return a paragraph that names what is missing, [] where nothing is."""
    return [f"**Not run yet**: {', '.join(absent)}.", ""] if absent else []
