"""The tasks that new requests get, and who still reads the ones that others had.

A request takes its tasks out of the generation that stands when it is admitted, and holds them until it is answered; a
batch holds those of its rows while the engine runs, since a client may leave meanwhile. A task that was replaced or
withdrawn is released when nobody holds it any more: only then may its slot be written again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from adaptertune_deploy.serve.tasks.generation import Generation
from adaptertune_deploy.serve.tasks.served_task import ServedTask


class LiveTasks:
    """The current generation; belongs to the event loop.

    Attributes:
        current: what new requests get; replaced as a whole.
    """

    def __init__(
        self,
        tasks: Iterable[ServedTask],
        published: Callable[[ServedTask], None],
        released: Callable[[ServedTask], None],
    ) -> None:
        """Begin with tasks.

        Args:
            tasks: which new requests get.
            published: called with each other one before any request gets it.
            released: called once with each that is neither current nor held any more.
        """
        self.current = Generation(tasks)
        self._published, self._released = published, released
        self._readers: Counter[ServedTask] = Counter()

    @contextmanager
    def hold(self, tasks: Iterable[ServedTask]) -> Iterator[None]:
        """Keep tasks from being released for the length of a `with` block."""
        held = tuple(tasks)
        self._readers.update(held)
        try:
            yield
        finally:
            for task in held:
                self._readers[task] -= 1
                if not self._readers[task]:
                    del self._readers[task]
                    if not self.current.holds(task):
                        self._released(task)

    def publish(self, task: ServedTask) -> None:
        """Give new requests this task, in the place of the one of its name."""
        self._published(task)
        replaced, self.current = self.current.get(task.name), self.current.with_task(task)
        self._let_go(replaced)

    def withdraw(self, name: str) -> ServedTask | None:
        """Give new requests no task of this name; returns the one that they had, or None."""
        withdrawn, self.current = self.current.get(name), self.current.without(name)
        self._let_go(withdrawn)
        return withdrawn

    def leaving(self) -> tuple[ServedTask, ...]:
        """Return the tasks that only those read who had them before."""
        return tuple(task for task in self._readers if not self.current.holds(task))

    def shows(self, identity: tuple[str, int]) -> bool:
        """Return whether any task of this name and version is current or read."""
        return any(task.identity == identity for task in (*self.current, *self._readers))

    def _let_go(self, task: ServedTask | None) -> None:
        if task is not None and task not in self._readers:
            self._released(task)
