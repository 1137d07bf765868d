"""How many rows and tasks an engine takes at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What an engine takes at most, or in steps.

    rows: row counts that it runs without padding, ascending; () where any count is as good.
    max_rows: rows of one run at most, and images too; None: no limit but memory.
    max_slots, max_rank: of the bank; None: no limit. Every row of a run may be of another task, so there are as many
        slots as rows at least.
    at_once: runs at the same time that share the threads out among them; 1 where nothing is prepared for that.
    """

    rows: tuple[int, ...] = ()
    max_rows: int | None = None
    max_slots: int | None = None
    max_rank: int | None = None
    at_once: int = 1

    def __post_init__(self) -> None:
        if list(self.rows) != sorted(set(self.rows)) or min(self.rows, default=1) < 1:
            raise ValueError(f"rows {self.rows} must be ascending, without repeats, from 1")
        for name in ("max_rows", "max_slots", "max_rank"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}, expected at least 1")
        if self.at_once < 1:
            raise ValueError(f"at_once is {self.at_once}, expected at least 1")
        if self.max_slots is not None and (self.max_rows is None or self.max_rows > self.max_slots):
            raise ValueError(f"max_slots is {self.max_slots}, expected at least max_rows ({self.max_rows})")

    def takes(self, rows: int) -> bool:
        """Return whether one run takes so many rows."""
        return self.max_rows is None or rows <= self.max_rows

    def parts(self, rows: int) -> Iterator[slice]:
        """Yield parts of so many rows, each of a size that one run takes."""
        step = self.max_rows or max(1, rows)
        return (slice(start, min(start + step, rows)) for start in range(0, rows, step))


def steps_up_to(most: int) -> tuple[int, ...]:
    """Return the row counts that an engine of fixed shapes prepares: powers of two, and the largest."""
    return (*(1 << power for power in range((most - 1).bit_length())), most)


def step_for(steps: tuple[int, ...], count: int) -> int:
    """Return the smallest step that holds so many rows, of which the largest has as many at least."""
    return next(step for step in steps if step >= count)
