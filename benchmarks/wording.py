"""What pages say in the same words: tables, medians with quartiles, targets that are met or missed, machines."""

from __future__ import annotations

from adaptertune_deploy.bench.machine import FEATURES
from benchmarks.documents import Facts

MISSED = ", **missed**"


def row(*cells: str) -> str:
    """Return a row of a table."""
    return f"| {' | '.join(cells)} |"


def heading(*columns: str, text: int = 1) -> str:
    """Return the two lines over a table, whose first columns are text and the others numbers."""
    return f"{row(*columns)}\n{'|---' * text}|{'---:|' * (len(columns) - text)}"


def spread(value: Facts, digits: int = 1) -> str:
    """Return a median with its quartiles: "0.9 [0.8, 1.1]"."""
    return f"{value['median']:.{digits}f} [{value['low']:.{digits}f}, {value['high']:.{digits}f}]"


def at_most(value: float, limit: float) -> str:
    """Return the target of a value that should be small, and a remark where it is missed."""
    return f"{limit:g}" if value <= limit else f"{limit:g}{MISSED}"


def at_least(value: float, limit: float) -> str:
    """Return the target of a value that should be large, and a remark where it is missed."""
    return f"{limit:g}" if value >= limit else f"{limit:g}{MISSED}"


def machine(facts: Facts) -> str:
    """Return what a benchmark ran on: "2 cores of Chip, 8 GB; Python 3.11.7, numpy 2.4.6"."""
    versions = ", ".join(f"{library} {version}" for library, version in facts["versions"].items())
    where = f"{facts['cores']} cores of {facts['processor']}, {facts['memory_gb']} GB"
    return f"{where}; Python {facts['python']}, {versions}"


def short(processor: str) -> str:
    """Return a processor's name with the last of what bench.machine says that it has: "AMD EPYC (avx512_bf16)"."""
    words = processor.split()
    has = [word for word in words if word in FEATURES]
    name = " ".join(word for word in words if word not in has)
    return f"{name} ({has[-1]})" if has else name
