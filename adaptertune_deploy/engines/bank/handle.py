"""Where a task lies in a bank."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Handle:
    """A task's place.

    rank: which slab.
    slot: 0 for rank 0 and for no other.
    """

    rank: int
    slot: int


HEAD_ONLY = Handle(0, 0)
