"""One version of a task, as a server answers it: what a row asks for is this itself, not a name or a place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from adaptertune_deploy.core.spec import TaskSpec


@dataclass(eq=False)
class ServedTask:
    """A task under a name and a version; all of it but its key stays as it is.

    key: the session's, which it gives to no other task; None while the task has no slot (tasks.slots).
    spec: name, labels, adapter.
    version: 1 for the first content that a server has under this name, and one more for each other one.
    digest: SHA-256 of the file that it was loaded of; "" where there was none.
    bring: puts it into the session again and returns its key, on the thread that loads; None where nothing can.
    """

    key: int | None
    spec: TaskSpec
    version: int = 1
    digest: str = ""
    bring: Callable[[], int] | None = None

    @property
    def name(self) -> str:
        """The task's name."""
        return self.spec.name

    @property
    def identity(self) -> tuple[str, int]:
        """Name and version: what answers and counters say."""
        return self.spec.name, self.version
