"""Who may wait for the engine: so many rows in all, so many of one task, and always a few of every task."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from adaptertune_deploy.core.errors import RequestError
from adaptertune_deploy.serve.settings import Settings

KEPT = 4  # one row of so many is kept for the tasks that have fewer rows waiting than their share of these


class Admission:
    """Counts rows from acceptance to answer; belongs to the event loop.

    Attributes:
        rows: accepted and not yet answered, of each task by its name; one counter for good, which others may keep.
    """

    def __init__(self, tasks: Callable[[], int], settings: Settings) -> None:
        """Begin with nothing accepted; `tasks` tells how many tasks are served now."""
        self.rows: Counter[str] = Counter()
        self._tasks = tasks
        self._limit = settings.queue_limit
        self._task_limit = settings.task_queue_limit
        self._spare = settings.queue_limit - settings.largest_request

    @property
    def kept(self) -> int:
        """Places that every task has though others fill the queue."""
        count = max(1, self._tasks())
        return min(self._limit // (KEPT * count), self._spare // max(1, count - 1))

    @property
    def total(self) -> int:
        """Rows accepted and not yet answered."""
        return self.rows.total()

    def check(self, wanted: Mapping[str, int]) -> None:
        """Raise RequestError (503) where so many more rows of these tasks do not fit."""
        for task, more in wanted.items():
            if self.rows[task] + more > self._task_limit:
                raise RequestError(
                    f"Exceeds maximum queue size: {self.rows[task]} rows of '{task}' wait, at most "
                    f"{self._task_limit} of one task may; try again later",
                    503,
                )
        kept, after = self.kept, self.rows + Counter(wanted)
        beyond = sum(max(0, rows - kept) for rows in after.values())
        grows = any(after[task] > kept for task in wanted)
        shared = self._limit - max(1, self._tasks()) * kept
        # Rows of a task that is served no more are in nobody's share.
        if (grows and beyond > shared) or after.total() > self._limit:
            raise RequestError(
                f"Exceeds maximum queue size: {self.total} rows wait, at most {self._limit} may; try again later", 503
            )

    @contextlib.contextmanager
    def hold(self, wanted: Mapping[str, int]) -> Iterator[None]:
        """Count rows for the length of a `with` block.

        Raises:
            RequestError: see check.
        """
        self.check(wanted)
        self.rows.update(wanted)
        try:
            yield
        finally:
            self._let_go(wanted)

    def _let_go(self, wanted: Mapping[str, int]) -> None:
        """Count rows no more, and keep no name of which none is left: names come and go."""
        self.rows.subtract(wanted)
        for task in wanted:
            if not self.rows[task]:
                del self.rows[task]
