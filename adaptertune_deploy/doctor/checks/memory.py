"""Memory of the machine and of the control group that this process is in."""

from __future__ import annotations

import re
from collections.abc import Iterator

from adaptertune_deploy.doctor.finding import NOTE, OK, PROBLEM, Finding
from adaptertune_deploy.doctor.machine import Machine

MEMINFO = "/proc/meminfo"
GROUPS = "/sys/fs/cgroup"
SERVING = (
    400_000_000  # bytes: twice what atd serve held with DeiT-Tiny and three tasks (benchmarks/results/footprint.json)
)
EXPORT = 4_000_000_000  # bytes: an export of ViT-B with ten merged graphs took 3.2 GB (benchmarks/results/export.json)


def check(machine: Machine) -> Iterator[Finding]:
    """Say how much memory this process may use, and what that is too little for."""
    text = machine.read(MEMINFO) or ""
    total, available = _kilobytes(text, "MemTotal"), _kilobytes(text, "MemAvailable")
    if total is None or available is None:
        return
    limit = _group_limit(machine)
    room = available
    words = f"{_gigabytes(available)} of {_gigabytes(total)} available"
    if limit is not None and limit < total:
        room = min(available, limit)
        words += f"; the control group (container or service) allows {_gigabytes(limit)}"
    if room < SERVING:
        yield Finding(
            PROBLEM,
            "memory",
            words,
            f"{_gigabytes(SERVING)} to serve a small backbone",
            "end other programs, or raise the limit (docker run --memory, MemoryMax= of a systemd unit)",
        )
    elif room < EXPORT:
        yield Finding(
            NOTE,
            "memory",
            words,
            f"{_gigabytes(EXPORT)} to train or export a ViT-B; serving needs a tenth",
            "train and export on a larger machine",
        )
    else:
        yield Finding(OK, "memory", words)


def _group_limit(machine: Machine) -> int | None:
    """Return the memory limit in bytes of the nearest control group that has one, version 2 or 1."""
    limits = []
    for line in (machine.read("/proc/self/cgroup") or "").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        base, file = (GROUPS, "memory.max") if not controllers else (f"{GROUPS}/memory", "memory.limit_in_bytes")
        if controllers and "memory" not in controllers.split(","):
            continue
        parts = [part for part in path.split("/") if part]
        for depth in range(len(parts) + 1):
            found = (machine.read("/".join([base, *parts[:depth], file])) or "").strip()
            if found.isdigit():
                limits.append(int(found))
    return min(limits, default=None)


def _kilobytes(text: str, name: str) -> int | None:
    found = re.search(rf"^{name}:\s*(\d+) kB", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB"
