"""Making an engine ready before requests come: every run that is slow once, what tasks are known to answer, times."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable, Collection
from concurrent.futures import Executor
from contextlib import AbstractContextManager, nullcontext
from typing import TypeAlias

from adaptertune_deploy.serve.batching.at_once import Way, time_together
from adaptertune_deploy.serve.batching.run_times import RunTimes, time_runs
from adaptertune_deploy.serve.sessions.session import Session
from adaptertune_deploy.serve.sessions.warming import warm_up
from adaptertune_deploy.serve.tasks.live_tasks import LiveTasks
from adaptertune_deploy.serve.tasks.served_task import ServedTask

# Keeps the slots of tasks for the length of a `with` block; see tasks.slots.Slots.lend.
Lend: TypeAlias = "Callable[[Collection[ServedTask]], AbstractContextManager[None]]"
logger = logging.getLogger(__name__)


def nothing_lent(tasks: Collection[ServedTask]) -> AbstractContextManager[None]:
    """Lend nothing: every task keeps its slot."""
    return nullcontext()


class Warming:
    """Runs a session in an executor, before requests and when it failed; belongs to the event loop."""

    def __init__(self, session: Session, tasks: LiveTasks, threads: Executor, lend: Lend = nothing_lent) -> None:
        """Take a session, the tasks of which those are tried that have a slot, where it runs, and what lends slots."""
        self._session, self._tasks, self._threads, self._lend = session, tasks, threads, lend

    async def warm_up(self, most: int, times: int = 1) -> None:
        """Run every current task, in batches of up to `most` rows, so many times at once.

        Raises:
            EngineError: see sessions.session.warm_up.
        """
        keys = self._keys()
        with self._tasks.hold(keys), self._lend(keys):
            loop = asyncio.get_running_loop()
            work = functools.partial(warm_up, self._session, most, list(keys.values()))
            found = await asyncio.gather(
                *(loop.run_in_executor(self._threads, work) for _ in range(times)), return_exceptions=True
            )
        for error in found:
            if error is not None:
                raise error

    async def time_runs(self, most: int, finds: bool, clock: Callable[[], float]) -> RunTimes | None:
        """Time runs of the first task (run_times.time_runs); None where there is none.

        Raises:
            EngineError: the engine failed.
        """
        first = dict(list(self._keys().items())[:1])
        with self._tasks.hold(first), self._lend(first):
            for key in first.values():
                work = functools.partial(time_runs, self._session, key, most, finds, clock)
                return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        return None

    async def time_together(self, ways: list[Way], clock: Callable[[], float]) -> dict[Way, float]:
        """Time runs of the first task at the same time (at_once.time_together); nothing where there is none.

        Raises:
            EngineError: the engine failed.
        """
        first = dict(list(self._keys().items())[:1])
        with self._tasks.hold(first), self._lend(first):
            for key in first.values():
                work = functools.partial(time_together, self._session, key, ways, self._threads, clock)
                return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        return {}

    def say(self, rows: int, instances: int, times: RunTimes | None) -> None:
        """Say which tasks were tried on an answer that is known, which were only warmed, and what times said."""
        if times is not None:
            rates = ", ".join(f"{images}: {rate:.4g}" for images, rate in times.rates.items())
            logger.info(
                "batches have %d rows at most, %d at a time; images/s by the images of a run alone: %s",
                rows,
                instances,
                rates,
            )
        known, names = self._session.answers, {key: task.name for task, key in self._keys().items()}
        proven = [name for key, name in names.items() if key in known]
        unproven = [name for key, name in names.items() if key not in known]
        if proven:
            logger.info("warm, and answering as the bundle says: %s", ", ".join(proven))
        if unproven:
            logger.info("warm only, since the bundle holds no answer of: %s", ", ".join(unproven))

    def _keys(self) -> dict[ServedTask, int]:
        """Return the current tasks that have a slot, with their keys."""
        return {task: task.key for task in self._tasks.current if task.key is not None}
