"""What a server answers at one moment: an immutable snapshot, name -> task."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from adaptertune_deploy.serve.tasks.served_task import ServedTask


class Generation:
    """Tasks by name, in the order in which they came; a change makes another generation."""

    def __init__(self, tasks: Iterable[ServedTask]) -> None:
        """Hold tasks; of two with one name the later."""
        self._tasks = {task.name: task for task in tasks}

    def __len__(self) -> int:
        return len(self._tasks)

    def __iter__(self) -> Iterator[ServedTask]:
        return iter(self._tasks.values())

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its tasks."""
        return tuple(self._tasks)

    def get(self, name: str) -> ServedTask | None:
        """Return the task of this name, or None."""
        return self._tasks.get(name)

    def holds(self, task: ServedTask) -> bool:
        """Return whether this very version is the one that new requests get."""
        return self._tasks.get(task.name) is task

    def with_task(self, task: ServedTask) -> Generation:
        """Return a generation with a task more, or with another version in the place of the one of its name."""
        return Generation([*self._tasks.values(), task])

    def without(self, name: str) -> Generation:
        """Return a generation without the task of this name."""
        return Generation(task for task in self if task.name != name)
