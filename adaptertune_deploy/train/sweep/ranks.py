"""The list of ranks that a sweep is asked for."""

from __future__ import annotations

from collections.abc import Sequence

from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.core.spec import MAX_COUNT

MOST_RANKS = 16


def check_ranks(ranks: Sequence[int]) -> tuple[int, ...]:
    """Return the ranks above 0, ascending, each once; the head alone is part of every sweep.

    Raises:
        UsageError: no rank, one that can't be had, or too many.
    """
    wrong = [rank for rank in ranks if not 0 <= rank <= MAX_COUNT]
    found = tuple(sorted({rank for rank in ranks if rank > 0}))
    if wrong or not found or len(found) > MOST_RANKS:
        raise UsageError(
            f"--ranks {','.join(map(str, ranks)):.60}: expected 1 to {MOST_RANKS} whole numbers from 1 to {MAX_COUNT}"
        )
    return found
