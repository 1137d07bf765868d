"""Which backbone somebody meant who mistyped its name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from adaptertune_deploy.model.names import FAMILIES


def nearest(name: str, known: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" for the nearest backbone that adapters work on, or "" when none is near.

    timm's names are long and people stop typing early, so `name` is compared with as many of their parts as it has
    itself: "deit_tny" with "deit_tiny", which stands for the shortest name that begins so.
    """
    parts = name.count("_") + 1
    shortest: dict[str, str] = {}
    for full in sorted((full for full in known if full.startswith(FAMILIES)), key=lambda full: (len(full), full)):
        shortest.setdefault("_".join(full.split("_")[:parts]), full)
    near = difflib.get_close_matches(name, shortest, n=1)
    return f" Did you mean '{shortest[near[0]]}'?" if near else ""
