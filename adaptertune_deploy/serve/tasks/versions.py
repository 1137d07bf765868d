"""Which number a version of a task gets."""

from __future__ import annotations

from collections.abc import Callable

DIGITS = 8  # hexadecimal, of a digest: 32 bits, which every client's integers hold

# A function of the number that a name had last, 0 for none, and of the digest of the content that follows.
Numbering = Callable[[int, str], int]


def counted(before: int, digest: str) -> int:
    """Return one more than before: how one server numbers what it is given, as Triton's clients expect."""
    return before + 1


def by_content(before: int, digest: str) -> int:
    """Return a number that the content decides, from 1 to 2^32 - 1.

    Several replicas of a server agree on it without asking each other, though each may have seen other contents before.
    """
    return (int(digest[:DIGITS], 16) or 1) if digest else counted(before, digest)
