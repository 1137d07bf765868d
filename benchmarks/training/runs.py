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
    named = dict.fromkeys(
        f"{run['machine']['cores']} cores of {run['machine']['processor']}, {run['machine']['memory_gb']} GB, torch "
        f"{run['machine']['versions']['torch']}, {run['recipe']['precision']}, {_threads(run['threads'])} a training"
        for run in runs
    )
    return [f"Measured on {'; '.join(named)}. {said}".rstrip()] if named else []


def _threads(number: int) -> str:
    return "1 thread" if number == 1 else f"{number} threads"


def not_run(absent: Sequence[str]) -> list[str]:
    """Return a paragraph that names what is missing, [] where nothing is."""
    return [f"**Not run yet**: {', '.join(absent)}.", ""] if absent else []
