"""How many processor cores a process may really use: those of its affinity, less what a container's quota takes."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection

QUOTA = "/sys/fs/cgroup/cpu.max"
OLD_QUOTA, OLD_PERIOD = "/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu/cpu.cfs_period_us"
SIBLINGS = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
READ_LIMIT = 1 << 20  # characters: the files that are read here are short
Read = Callable[[str], "str | None"]


def quota(read: Read) -> float | None:
    """Return the cores' worth of time that the control group allows, None where it sets no limit.

    Args:
        read: returns a small text file, None where it can't be read.
    """
    words = (read(QUOTA) or "").split()
    if not words:
        words = [(read(path) or "").strip() for path in (OLD_QUOTA, OLD_PERIOD)]
    if len(words) == 2 and all(word.isdigit() for word in words) and int(words[1]):
        return int(words[0]) / int(words[1])
    return None


def read_small(path: str) -> str | None:
    """Return the begin of a text file, None where it can't be read."""
    try:
        with open(path, errors="replace") as stream:
            return stream.read(READ_LIMIT)
    except OSError:
        return None


def usable(read: Read) -> int:
    """Return the cores that this process may use, at least 1; see quota."""
    return within(len(_own()), quota(read))


def physical(read: Read) -> int:
    """Return the same, but logical cores that share one core's arithmetic units count once."""
    return within(len({read(SIBLINGS.format(core)) or str(core) for core in _own()}), quota(read))


def _own() -> Collection[int]:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)


def within(cores: int, allowed: float | None) -> int:
    """Return how many of these cores a quota leaves whole, at least 1."""
    return max(1, min(cores, math.floor(allowed) if allowed else cores))
