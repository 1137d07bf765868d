"""A bound on what is in memory at once, whoever works on it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Room:
    """So many units, lent to threads that wait for theirs.

    Args:
        units: how many there are. Who asks for more gets all of them, alone.
    """

    def __init__(self, units: int) -> None:
        self._units = self._free = units
        self._changed = threading.Condition()

    @contextmanager
    def take(self, units: int) -> Iterator[None]:
        """Hold so many units, as soon as they are free."""
        wanted = min(units, self._units)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= wanted)
            self._free -= wanted
        try:
            yield
        finally:
            with self._changed:
                self._free += wanted
                self._changed.notify_all()
