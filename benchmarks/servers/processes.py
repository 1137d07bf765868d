"""What a process and those that it started took, from /proc."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
# In /proc/PID/stat, counted after the name in parentheses, which may hold anything: parent, user time, system time.
PARENT, USER, SYSTEM = 1, 11, 12


def tree(pid: int) -> list[int]:
    """Return a process and all that descend from it and still run."""
    children: dict[int, list[int]] = {}
    for process in _all():
        fields = _stat(process)
        if fields:
            children.setdefault(int(fields[PARENT]), []).append(process)
    found = [pid]
    for process in found:
        found += children.get(process, [])
    return found


def cpu_s(pid: int) -> float:
    """Return the processor seconds that a process and its descendants have used."""
    stats = [_stat(process) for process in tree(pid)]
    return sum(int(fields[USER]) + int(fields[SYSTEM]) for fields in stats if fields) / TICKS


def proportional_mb(pid: int) -> float:
    """Return the memory of a process and its descendants, 10^6 bytes; a page that several share is divided by them."""
    total = 0
    for process in tree(pid):
        found = re.search(r"^Pss:\s+(\d+) kB", _read(f"/proc/{process}/smaps_rollup"), re.MULTILINE)
        total += int(found[1]) if found else 0
    return total * 1024 / 1e6


def _all() -> Iterator[int]:
    yield from (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())


def _stat(pid: int) -> list[str]:
    return _read(f"/proc/{pid}/stat").rpartition(")")[2].split()


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:  # it has ended
        return ""
