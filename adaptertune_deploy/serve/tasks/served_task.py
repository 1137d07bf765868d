"""One version of a task, as a server answers it: what a row asks for is this itself, not a name or a place."""

from __future__ import annotations

from dataclasses import dataclass

from adaptertune_deploy.core.spec import TaskSpec


@dataclass(frozen=True, eq=False)
class ServedTask:
    """A task under a name and a version, held by a session.

    key: the session's, which it gives to no other task.
    spec: name, labels, adapter.
    version: 1 for the first content that a server has under this name, and one more for each other one.
    digest: SHA-256 of the file that it was loaded of; "" where there was none.
    """

    key: int
    spec: TaskSpec
    version: int = 1
    digest: str = ""

    @property
    def name(self) -> str:
        """The task's name."""
        return self.spec.name

    @property
    def identity(self) -> tuple[str, int]:
        """Name and version: what answers and counters say."""
        return self.spec.name, self.version
