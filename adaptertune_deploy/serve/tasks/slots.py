"""Which tasks lie in the engine's slots, where there are fewer slots than tasks.

A task without a slot is cold: its first request has it brought up, out of host memory or from disk, and waits; requests
for others do not. The task that was asked for least recently gives its slot up, one that is pinned never. A slot is
lent to the requests that read it, and written again only when none does.

Nobody starves and nothing waits in a circle: cold tasks are brought up in the order in which they were first asked for,
each answers all who wait for it before it may go again, and no request holds one slot while it waits for another. Loads
and cold tasks take turns, and whoever has the turn gets the slot that was to leave, however often its task is asked for
meanwhile.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Protocol

from adaptertune_deploy.core.errors import AtdError, EngineError, RequestError
from adaptertune_deploy.serve.tasks.live_tasks import LiveTasks
from adaptertune_deploy.serve.tasks.served_task import ServedTask
from adaptertune_deploy.serve.timing.deadline import Deadline

LEFT = "the server is shutting down and could not answer in time; send the request to another one"
logger = logging.getLogger(__name__)


class Observer(Protocol):
    """Who counts what happens."""

    def asked_slot(self, hit: bool) -> None:
        """A request asked for a task, which had a slot or not."""

    def evicted(self) -> None:
        """A task gave its slot up for another one."""

    def brought_up(self, seconds: float) -> None:
        """A cold task got a slot, in so many seconds of loading."""


@dataclass(eq=False)
class _Stay:
    """A task in a slot. lent: to so many. used: its place in the order of use. leaving: lent to nobody new."""

    used: int
    lent: int = 0
    leaving: bool = False


class Slots:
    """Lends slots to requests; belongs to the event loop.

    Args:
        count: slots; 0 for as many as tasks.
        pinned: names of tasks that never give theirs up.
        tasks: what is served.
        run: runs a function on the thread that loads.
        unload: has a key's slot unloaded on the same thread, behind what it was given before.
        observer: counts.
    """

    def __init__(
        self,
        count: int,
        pinned: Collection[str],
        tasks: LiveTasks,
        run: Callable[[Callable[[], int]], Awaitable[int]],
        unload: Callable[[int], None],
        observer: Observer,
    ) -> None:
        self._count, self._pinned, self._tasks = count, frozenset(pinned), tasks
        self._run, self._unload, self._observer = run, unload, observer
        self._stays: dict[ServedTask, _Stay] = {}
        self._wanted: dict[ServedTask, list[asyncio.Future[None]]] = {}
        self._order = itertools.count()
        self._turn, self._freed = asyncio.Lock(), asyncio.Event()
        self._worker: asyncio.Task[None] | None = None
        self._problems: dict[ServedTask, str] = {}

    @property
    def bounded(self) -> bool:
        """Whether there may be fewer slots than tasks."""
        return self._count > 0

    def settle(self, task: ServedTask) -> None:
        """Note that a task got a slot, whose key it has."""
        self._stays[task] = _Stay(next(self._order))
        self._problems.pop(task, None)

    def warm(self, task: ServedTask) -> bool:
        """Return whether a task has a slot that may be lent."""
        stay = self._stays.get(task)
        return stay is not None and not stay.leaving

    def problem(self, task: ServedTask) -> str:
        """Return why a task could not be brought up when that was tried last; "" where it could, or was not."""
        return self._problems.get(task, "")

    @property
    def warm_tasks(self) -> tuple[ServedTask, ...]:
        """The tasks whose slots may be lent."""
        return tuple(task for task in self._stays if self.warm(task))

    @contextmanager
    def lend(self, tasks: Iterable[ServedTask]) -> Iterator[None]:
        """Keep the slots of tasks that have one for the length of a `with` block."""
        held = tuple(tasks)
        for task in held:
            self._lend(task)
        try:
            yield
        finally:
            for task in held:
                self._give_back(task)

    @asynccontextmanager
    async def brought(self, task: ServedTask, deadline: Deadline) -> AsyncIterator[None]:
        """Keep a task's slot for the length of a `with` block, which begins when it has one.

        Raises:
            RequestError: 503, it can't be brought up, or the server ends; 504, the deadline passed before.
        """
        if self.warm(task):
            with self.lend([task]):
                yield
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._wanted.setdefault(task, []).append(waiter)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        try:
            await deadline.within(waiter, "the task was brought up")
        except BaseException:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._give_back(task)
            raise
        try:
            yield
        finally:
            self._give_back(task)

    def count(self, tasks: Iterable[ServedTask]) -> None:
        """Count what a request asks for as hits and misses."""
        for task in tasks:
            self._observer.asked_slot(self.warm(task))

    @asynccontextmanager
    async def room(self) -> AsyncIterator[None]:
        """See that a slot is free for the length of a `with` block, which is alone in taking any.

        Raises:
            EngineError: every slot is pinned.
        """
        async with self._turn:
            await self._make_room()
            yield

    def forget(self, task: ServedTask) -> None:
        """Free the slot of a task that is served no more and that nobody reads, where it has one."""
        self._problems.pop(task, None)
        if task in self._stays:
            self._free(task)

    def abandon(self) -> None:
        """Let all who wait go with 503."""
        for waiter in itertools.chain.from_iterable(self._wanted.values()):
            if not waiter.done():
                waiter.set_exception(RequestError(LEFT, 503))

    async def close(self) -> None:
        """Bring nothing up any more."""
        self.abandon()
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.wait([self._worker])

    async def _work(self) -> None:
        """Bring up what is wanted, one after another in the order of asking."""
        while self._wanted:
            task = next(iter(self._wanted))
            if all(waiter.done() for waiter in self._wanted[task]):
                del self._wanted[task]
                continue
            with self._tasks.hold([task]):  # one that is let go of meanwhile is unloaded when this ends
                try:
                    await self._bring_up(task)
                except Exception as error:  # noqa: BLE001  of this task; the others go on
                    self._fail(task, error)

    async def _bring_up(self, task: ServedTask) -> None:
        # One that is to leave goes for somebody who waits for its slot and has the turn: it stays only after that turn.
        async with self._turn:
            stay = self._stays.get(task)
            if stay is not None:
                stay.leaving = False
            else:
                await self._make_room()
                if task.bring is None:
                    raise EngineError("nothing is known to load it from")
                began = monotonic()
                task.key = await self._run(task.bring)
                self.settle(task)
                self._observer.brought_up(monotonic() - began)
        for waiter in self._wanted.pop(task):
            if not waiter.done():
                self._lend(task)
                waiter.set_result(None)

    async def _make_room(self) -> None:
        """Return when a slot is free; the caller has the turn, and keeps it until the slot is taken."""
        while self._count and len(self._stays) >= self._count:
            self._freed.clear()
            self._evict()
            if len(self._stays) >= self._count:
                await self._freed.wait()

    def _fail(self, task: ServedTask, error: Exception) -> None:
        self._problems[task] = (
            str(error) if isinstance(error, AtdError) else "internal error; the server's log says more"
        )
        logger.error(
            "task '%s' could not be brought up: %s",
            task.name,
            error,
            exc_info=None if isinstance(error, AtdError) else error,
        )
        for waiter in self._wanted.pop(task):
            if not waiter.done():
                text = f"task '{task.name}' could not be brought up; the server's log says why; try again later"
                waiter.set_exception(RequestError(text, 503))

    def _evict(self) -> None:
        """Let the slot of the task go that was used least recently, of those that are read where all are."""
        if any(stay.leaving for stay in self._stays.values()):
            return
        found = [task for task in self._stays if task.name not in self._pinned]
        if not found:
            raise EngineError(f"every one of {self._count} slots is pinned")
        victim = min(found, key=lambda task: (self._stays[task].lent > 0, self._stays[task].used))
        self._observer.evicted()
        self._stays[victim].leaving = True
        if not self._stays[victim].lent:
            self._free(victim)

    def _lend(self, task: ServedTask) -> None:
        self._stays[task].lent += 1
        self._stays[task].used = next(self._order)

    def _give_back(self, task: ServedTask) -> None:
        stay = self._stays[task]
        stay.lent -= 1
        if stay.leaving and not stay.lent:
            self._free(task)

    def _free(self, task: ServedTask) -> None:
        del self._stays[task]
        key, task.key = task.key, None
        if key is not None:
            self._unload(key)
        self._freed.set()
