"""Making an engine ready before requests come: every run that is slow once, what tasks are known to answer, times."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable
from concurrent.futures import Executor

from adaptertune_deploy.serve.batching.run_times import RunTimes, time_runs
from adaptertune_deploy.serve.sessions.session import Session, warm_up
from adaptertune_deploy.serve.tasks.live_tasks import LiveTasks

logger = logging.getLogger(__name__)


class Warming:
    """Runs a session in an executor, before requests and when it failed; belongs to the event loop."""

    def __init__(self, session: Session, tasks: LiveTasks, threads: Executor) -> None:
        """Take a session, the tasks that are tried, and where it runs."""
        self._session, self._tasks, self._threads = session, tasks, threads

    async def warm_up(self, most: int, times: int = 1) -> None:
        """Run every current task, in batches of up to `most` rows, so many times at once.

        Raises:
            EngineError: see sessions.session.warm_up.
        """
        tasks = tuple(self._tasks.current)
        with self._tasks.hold(tasks):
            loop, keys = asyncio.get_running_loop(), [task.key for task in tasks]
            work = functools.partial(warm_up, self._session, most, keys)
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
        tasks = tuple(self._tasks.current)[:1]
        with self._tasks.hold(tasks):
            for task in tasks:
                work = functools.partial(time_runs, self._session, task.key, most, finds, clock)
                return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        return None

    def say(self, rows: int, times: RunTimes | None) -> None:
        """Say which tasks were tried on an answer that is known, which were only warmed, and what times said."""
        if times is not None:
            rates = ", ".join(f"{images}: {rate:.4g}" for images, rate in times.rates.items())
            logger.info("batches have %d rows at most; images/s by the images of a run: %s", rows, rates)
        known, names = self._session.answers, {task.key: task.name for task in self._tasks.current}
        proven = [name for key, name in names.items() if key in known]
        unproven = [name for key, name in names.items() if key not in known]
        if proven:
            logger.info("warm, and answering as the bundle says: %s", ", ".join(proven))
        if unproven:
            logger.info("warm only, since the bundle holds no answer of: %s", ", ".join(unproven))
