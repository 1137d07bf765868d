"""What is known of the tasks that are served now: found by their content, and read again when a content is unknown."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping

from adaptertune_deploy.core.errors import AtdError
from adaptertune_deploy.serve.facts.about import NOTHING, About, AboutTask
from adaptertune_deploy.serve.tasks.served_task import ServedTask


class Told:
    """Facts about a bundle that may change while it is served; belongs to the event loop.

    Attributes:
        about: as it was read last.

    Args:
        about: what is known at the start.
        read: reads it again, in another thread; None where there is nothing to read.
    """

    def __init__(self, about: About = NOTHING, read: Callable[[], About] | None = None) -> None:
        self.about = about
        self._read = read
        self._missed: frozenset[str] = frozenset()

    async def of(self, tasks: Iterable[ServedTask]) -> Mapping[str, AboutTask]:
        """Return what is known of tasks, by name, never of another content than the one that is served.

        A content that is not found is looked for once: what a bundle no longer holds is not read for every request.
        """
        wanted = tuple(tasks)
        unknown = frozenset(task.digest for task in wanted if self._find(task) is None)
        if self._read is not None and unknown and unknown != self._missed:
            self._missed = unknown
            with contextlib.suppress(AtdError):  # the page goes without; whoever loads tasks says what is wrong
                self.about = await asyncio.to_thread(self._read)
        found = {task.name: self._find(task) for task in wanted}
        return {name: about for name, about in found.items() if about is not None}

    def _find(self, task: ServedTask) -> AboutTask | None:
        about = self.about.tasks.get(task.name)
        return about if about is not None and task.digest in about.digests else None
