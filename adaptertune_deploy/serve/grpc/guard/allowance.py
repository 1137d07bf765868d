"""How much of something a client may do: so many at once, and so many a second."""

from __future__ import annotations


class Allowance:
    """A bucket that runs empty and is filled again.

    Args:
        most: what it holds, and holds at first.
        rate: what comes back a second.
        now: a time.monotonic() value.
    """

    def __init__(self, most: float, rate: float, now: float) -> None:
        self._most, self._rate = most, rate
        self._left, self._then = float(most), now

    def refill(self, now: float) -> None:
        """Give back what the time since the last refill brings."""
        self.earn((now - self._then) * self._rate)
        self._then = now

    def earn(self, amount: float) -> None:
        """Give back so much."""
        self._left = min(self._most, self._left + amount)

    def spend(self, amount: float = 1.0) -> bool:
        """Take so much; return whether there was as much."""
        self._left -= amount
        return self._left >= 0.0
