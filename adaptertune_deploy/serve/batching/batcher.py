"""The queue before the engine: rows of all requests that wait ride together, whatever their tasks.

Each instance runs one batch at a time. Of what waits when one gets free, up to `rows` rows in fair order are the next
batch; when nothing is running a request starts at once, so an idle server adds no delay. How many rows and how many
instances that are is found at the start, where nobody said it; instances that were found share one run's threads, so
a second one runs full batches only. Everything but the engine run itself happens on the event loop, so the queue
needs no lock.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from time import monotonic, perf_counter

from adaptertune_deploy.core.errors import AtdError, EngineError, RequestError
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.engines import heap
from adaptertune_deploy.serve.batching.admission import Admission
from adaptertune_deploy.serve.batching.at_once import Way, choose, worth_timing
from adaptertune_deploy.serve.batching.batch import BatchRecord, Indices, Job, Outcome, Part, deliver, join
from adaptertune_deploy.serve.batching.engine_health import EngineHealth
from adaptertune_deploy.serve.batching.fair_queue import DEFAULT_PRIORITY, Alongside, FairQueue, any_number
from adaptertune_deploy.serve.batching.run_times import RunTimes
from adaptertune_deploy.serve.batching.warming import Lend, Warming, nothing_lent
from adaptertune_deploy.serve.sessions.session import Session
from adaptertune_deploy.serve.settings import FOUND_AT_ONCE, Settings, largest_batch
from adaptertune_deploy.serve.tasks.live_tasks import LiveTasks
from adaptertune_deploy.serve.tasks.served_task import ServedTask
from adaptertune_deploy.serve.timing.deadline import Deadline, expired
from adaptertune_deploy.serve.timing.waiting import within

NEVER = Deadline()
PROBE_S = 1.0
LEFT = "the server is shutting down and could not answer in time; send the request to another one"
logger = logging.getLogger(__name__)


class Batcher:
    """Joins waiting rows into batches and runs them on a session; belongs to the event loop that starts it.

    Attributes:
        warm: whether the session has been warmed up.
        failure: why it can't be, or None.
        health: of the engine since.
        abandoned: whether what waits or runs was given up.
        most: rows of the largest run; only rows about an image that runs anyway bring a batch beyond `rows`.
        rows: of a batch at most.
        instances: batches that run at the same time at most.
        times: how long runs take here; None until the session is warm, or where it held no task then.
    """

    def __init__(
        self,
        session: Session,
        tasks: LiveTasks,
        settings: Settings,
        on_batch: Callable[[BatchRecord], None],
        clock: Callable[[], float] = perf_counter,
        lend: Lend = nothing_lent,
    ) -> None:
        """Make a batcher.

        Args:
            session: runs the batches.
            tasks: what is served.
            settings: without `max_batch` the smallest batch is found that has hardly fewer images a second than the
                best (run_times), without `instances` how many of them at the same time (at_once).
            on_batch: called on the event loop after every batch that succeeded.
            clock: returns seconds; the runs of the warm-up are timed by it.
            lend: keeps the slots of tasks for the length of a `with` block.
        """
        self.warm = False
        self.failure: Exception | None = None
        self.health = EngineHealth(settings.run_timeout)
        self._session = session
        self._tasks = tasks
        self.rows = self.most = largest_batch(settings, session.engine.limits)
        self.times: RunTimes | None = None
        self._finds = settings.max_batch is None
        self._alongside: Alongside = any_number
        self._clock = clock
        self._shared = settings.instances is None
        self.instances = settings.instances or min(FOUND_AT_ONCE, session.engine.limits.at_once)
        self._admission = Admission(lambda: len(tasks.current), settings)
        self._on_batch, self._lend = on_batch, lend
        self._queue = FairQueue(accepted=lambda: self._admission.rows)
        self._running: dict[int, list[Part]] = {}
        self._closing = self.abandoned = False
        self._changed = asyncio.Event()
        self._threads = ThreadPoolExecutor(self.instances, thread_name_prefix="engine")
        self._warming = Warming(session, tasks, self._threads, lend)
        self._worker: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the worker: it warms the session up, then takes requests in every instance."""
        self._worker = asyncio.create_task(self._work())

    @property
    def admitted(self) -> int:
        """Rows accepted and not yet answered."""
        return self._admission.total

    @property
    def waiting(self) -> Mapping[str, int]:
        """Rows accepted and not yet answered, of each task by its name; 0 for any other."""
        return self._admission.rows

    def check_room(self, rows: Mapping[str, int]) -> None:
        """Raise RequestError (503) when so many more rows of each name do not fit, or nothing is taken any more."""
        if self.failure is not None:
            raise RequestError("the engine failed its first run; this server can't answer", 503)
        if self._closing:
            raise RequestError("the server is shutting down; send the request to another one", 503)
        self._admission.check(rows)

    @contextlib.contextmanager
    def admit(self, rows: Mapping[str, int]) -> Iterator[None]:
        """Count rows of each task, by its name, against the queue's limits from acceptance to answer.

        Raises:
            RequestError: 503, see check_room.
        """
        self.check_room(rows)
        try:
            with self._admission.hold(rows):
                yield
        finally:
            self._changed.set()

    def submit(
        self,
        images: Array,
        image: Indices,
        task: Sequence[ServedTask],
        deadline: Deadline = NEVER,
        priority: int = DEFAULT_PRIORITY,
    ) -> asyncio.Future[Outcome]:
        """Queue B rows about N images; cancelling the future takes them out again.

        Args:
            images: float32 [N, 3, H, W], preprocessed.
            image: int64 [B], which image each row asks about; rows of one image side by side, images in order.
            task: B of them, which each row asks for; the caller holds them (tasks.live_tasks) until the future ends.
            deadline: a request of which rows wait then is answered with RequestError (504) at that moment, and they
                never run.
            priority: of the requests of one task the one with the lowest number comes first.

        Returns:
            A future that ends with RequestError, or with EngineError when its batch failed.
        """
        loop = asyncio.get_running_loop()
        job = Job(images, image, task, loop.create_future(), monotonic(), priority)
        job.future.add_done_callback(lambda _: self._forget(job))
        if not math.isinf(deadline.at):
            timer = loop.call_later(max(0.0, deadline.at - monotonic()), self._expire, job)
            job.future.add_done_callback(lambda _: timer.cancel())
        if self.abandoned:
            job.fail(RequestError(LEFT, 503))
            return job.future
        self._queue.push(job)
        self._changed.set()
        return job.future

    async def drain(self) -> None:
        """Take no new requests, wait until every accepted one is answered or given up, then stop the worker."""
        self._closing = True
        while not self.abandoned and self.failure is None and (self.admitted or self._queue or self._running):
            self._changed.clear()
            await self._changed.wait()
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.wait([self._worker])
        for job in self._queue.jobs():
            job.future.cancel()
        self._threads.shutdown(wait=not self.abandoned)

    def abandon(self) -> None:
        """Answer all that waits or runs with 503, take nothing new, and wait for no run any more."""
        self._closing = self.abandoned = True
        running = [part.job for parts in self._running.values() for part in parts]
        for job in [*self._queue.jobs(), *running]:
            job.fail(RequestError(LEFT, 503))
        self._changed.set()

    async def _work(self) -> None:
        try:
            await self._warming.warm_up(self.most, self.instances)
            self.times = await self._warming.time_runs(self.most, self._finds, self._clock)
            await self._find()
        except Exception as error:
            trace = None if isinstance(error, AtdError) else error
            logger.error("the engine failed its first run: %s", error, exc_info=trace)
            self._give_up(error)
            return
        heap.give_back()  # what opening and warming up took for a moment: a fifth of a small server's memory
        self.warm = True
        self._warming.say(self.rows, self.instances, self.times if self._finds else None)
        await asyncio.gather(*(self._take_turns(instance) for instance in range(self.instances)))

    async def _find(self) -> None:
        """Find what nobody said: rows of a batch, and batches at the same time."""
        if self.times is None:
            return
        self._alongside = functools.cache(self.times.alongside)
        self.rows = self.times.smallest_fast() if self._finds else self.most
        if self._shared and self.instances > 1:
            ways = worth_timing(self.times, self.instances, None if self._finds else self.most)
            rates = await self._warming.time_together(ways, self._clock)
            alone = {Way(rows, 1): rate for rows, rate in self.times.rates.items()} if self._finds else {}
            way = choose({**alone, **rates})
            self.rows, self.instances = way.rows, way.at_once

    async def _take_turns(self, instance: int) -> None:
        """Run batch after batch; the first instance also tries an engine that failed."""
        while True:
            parts = self._take()
            if parts:
                await self._execute(parts, instance)
                continue
            self._changed.clear()
            try:
                await within(self._changed.wait(), PROBE_S if self.health.failing and not instance else None)
            except asyncio.TimeoutError:
                await self._probe()

    async def _probe(self) -> None:
        """Try an engine that failed: no request may come to show that it works again."""
        self.health.began()
        (error,) = await asyncio.gather(self._warming.warm_up(1), return_exceptions=True)
        self.health.ended(fine=error is None)

    def _give_up(self, error: Exception) -> None:
        self.failure = error
        for job in self._queue.jobs():
            job.fail(RequestError("the engine failed its first run; this server can't answer", 503))
        self._changed.set()

    def _take(self) -> list[Part]:
        """Take the next batch; a request that does not fit whole is split."""
        beside = self._shared and bool(self._running)
        parts = self._queue.take(self.rows, self.most, self._alongside, beside)
        for part in parts:
            if part.start == 0:
                part.job.queue_s = monotonic() - part.job.submitted
        return parts

    async def _execute(self, parts: list[Part], instance: int) -> None:
        self._running[instance] = parts
        self.health.began(instance)
        fine = False
        try:
            loop = asyncio.get_running_loop()
            read = {task for part in parts for task in part.task}
            with self._tasks.hold(read), self._lend(read):
                logits, seconds = await loop.run_in_executor(self._threads, self._run, parts)
                fine = True
                self._on_batch(deliver(parts, logits, seconds, instance))
        except Exception:
            ids = [part.job.request_id for part in parts]
            logger.exception("a batch of requests failed: %s", " ".join(ids), extra={"facts": {"request_ids": ids}})
            for part in parts:
                part.job.fail(EngineError("the engine failed on the batch of this request; send it again"))
        finally:
            del self._running[instance]
            self.health.ended(fine, instance)
            self._changed.set()

    def _run(self, parts: list[Part]) -> tuple[list[Array], float]:
        """Run one batch; the only code outside the event loop's thread."""
        images, image, task = join(parts)
        start = monotonic()
        logits = self._session.run(images, image, task)
        return logits, monotonic() - start

    def _expire(self, job: Job) -> None:
        if job.taken < len(job.task):
            job.fail(expired("the request waited for the engine"))

    def _forget(self, job: Job) -> None:
        """Drop a request that ended while it waited, so that its images are freed at once."""
        self._queue.remove(job)
        self._changed.set()
