"""Who may wait for the engine: so many rows in all, so many of one task, and always a few of every task."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from adaptertune_deploy.core.errors import RequestError
from adaptertune_deploy.serve.settings import Settings

KEPT = 4  # one row of so many is kept for the tasks that have fewer rows waiting than their share of these


class Admission:
    """Counts rows from acceptance to answer; belongs to the event loop.

    Attributes:
        rows: accepted and not yet answered, of each task by its index.
        kept: places that every task has though others fill the queue.
    """

    def __init__(self, tasks: Sequence[str], settings: Settings) -> None:
        """Begin with nothing accepted."""
        count = max(1, len(tasks))
        spare = settings.queue_limit - settings.largest_request
        self.rows: Counter[int] = Counter()
        self.kept = min(settings.queue_limit // (KEPT * count), spare // max(1, count - 1))
        self._tasks = tasks
        self._limit = settings.queue_limit
        self._task_limit = settings.task_queue_limit
        self._shared = settings.queue_limit - count * self.kept

    @property
    def total(self) -> int:
        """Rows accepted and not yet answered."""
        return self.rows.total()

    def check(self, wanted: Mapping[int, int]) -> None:
        """Raise RequestError (503) where so many more rows of these tasks do not fit."""
        for task, more in wanted.items():
            if self.rows[task] + more > self._task_limit:
                raise RequestError(
                    f"Exceeds maximum queue size: {self.rows[task]} rows of '{self._tasks[task]}' wait, at most "
                    f"{self._task_limit} of one task may; try again later",
                    503,
                )
        after = self.rows + Counter(wanted)
        beyond = sum(max(0, rows - self.kept) for rows in after.values())
        grows = any(after[task] > self.kept for task in wanted)
        if grows and beyond > self._shared:
            raise RequestError(
                f"Exceeds maximum queue size: {self.total} rows wait, at most {self._limit} may; try again later", 503
            )

    @contextlib.contextmanager
    def hold(self, wanted: Mapping[int, int]) -> Iterator[None]:
        """Count rows for the length of a `with` block.

        Raises:
            RequestError: see check.
        """
        self.check(wanted)
        self.rows.update(wanted)
        try:
            yield
        finally:
            self.rows.subtract(wanted)
