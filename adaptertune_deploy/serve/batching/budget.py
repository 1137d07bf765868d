"""A budget of something that all requests share: a place in it is taken before the cost arises."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from adaptertune_deploy.core.errors import RequestError


class Budget:
    """So many bytes, or pixels; belongs to the event loop.

    Attributes:
        limit: of all requests together.
        used: taken now.
    """

    def __init__(self, limit: int, unit: str) -> None:
        """Begin with nothing taken; `unit` is what messages call it: "bytes"."""
        self.limit = limit
        self.used = 0
        self._unit = unit

    @contextlib.contextmanager
    def share(self) -> Iterator[Share]:
        """Hold a share, empty at first, for the length of a `with` block."""
        share = Share(self)
        try:
            yield share
        finally:
            self.used -= share.size

    def take(self, amount: int) -> None:
        """Count more as taken.

        Raises:
            RequestError: 503 where it does not fit.
        """
        if self.used + amount > self.limit:
            taken = f"{self.used:,} of {self.limit:,} {self._unit} are taken"
            raise RequestError(f"{taken} and {amount:,} more do not fit; try again later", 503)
        self.used += amount


class Share:
    """What one request holds of a budget.

    Attributes:
        size: of the share.
    """

    def __init__(self, budget: Budget) -> None:
        """Hold nothing yet."""
        self.size = 0
        self._budget = budget

    def grow(self, amount: int) -> None:
        """Take more.

        Raises:
            RequestError: 503 where it does not fit; the share stays as it was.
        """
        self._budget.take(amount)
        self.size += amount

    def reach(self, size: int) -> None:
        """Take what lacks to a size; see grow."""
        if size > self.size:
            self.grow(size - self.size)
