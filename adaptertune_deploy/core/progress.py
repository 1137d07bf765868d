"""How long work tells a person where it is, without knowing whether anybody looks."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called as work goes on, from one thread."""

    def __call__(self, what: str, done: int, total: int) -> None:
        """Report that `done` of `total` steps of `what` are finished; the first call for a `what` may say 0."""


def silent(what: str, done: int, total: int) -> None:
    """Report nothing."""
