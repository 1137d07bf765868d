"""One server's insides, shared by every endpoint: session, image threads, batcher, counters, readiness."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from time import monotonic

from adaptertune_deploy.core.errors import EngineError, RequestError, did_you_mean
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.serve.answering import Answering, Served
from adaptertune_deploy.serve.batching.batch import BatchRecord
from adaptertune_deploy.serve.batching.batcher import Batcher
from adaptertune_deploy.serve.batching.budget import Budget
from adaptertune_deploy.serve.batching.fair_queue import DEFAULT_PRIORITY
from adaptertune_deploy.serve.batching.rides import Rides
from adaptertune_deploy.serve.decoding.images import ImagePool
from adaptertune_deploy.serve.decoding.parsing import ParsePool
from adaptertune_deploy.serve.metrics import Metrics
from adaptertune_deploy.serve.response_cache.cache import ResponseCache
from adaptertune_deploy.serve.response_cache.store import Store
from adaptertune_deploy.serve.sessions.session import Session
from adaptertune_deploy.serve.settings import Settings
from adaptertune_deploy.serve.statistics import Statistics
from adaptertune_deploy.serve.tasks.bundle_source import BundleSource
from adaptertune_deploy.serve.tasks.follower import Follower
from adaptertune_deploy.serve.tasks.live_tasks import LiveTasks
from adaptertune_deploy.serve.tasks.loader import Loader
from adaptertune_deploy.serve.tasks.served_task import ServedTask
from adaptertune_deploy.serve.tasks.versions import Numbering, counted
from adaptertune_deploy.serve.timing.deadline import Deadline

NEVER = Deadline()


class Service:
    """Answers requests about images; belongs to one event loop.

    Attributes:
        draining: set to make the server say that it is not ready while it goes on answering.
    """

    def __init__(
        self, session: Session, settings: Settings, source: BundleSource | None = None, number: Numbering = counted
    ) -> None:
        """Take a session, which stays the caller's to close; batches get no larger than its engine takes.

        `source` is where further tasks come from, `number` gives each content under a name its version.
        """
        self.session = session
        self.settings = settings
        self.draining = False
        self.bytes = Budget(settings.bytes_limit, "bytes of bodies")
        self.parsing = ParsePool()
        self.images = ImagePool(session.preprocess, settings)
        self.cache = ResponseCache(settings.cache_bytes, self.parsing) if settings.cache else None
        self.statistics = Statistics()
        self.metrics = Metrics(self.statistics, _words(session), cached=self.cache is not None)
        self.tasks = LiveTasks([], self._published, self._released)
        self.loader = Loader(session, self.tasks, settings, self.metrics, source, number)
        self.loader.begin()
        self.slots = self.loader.slots
        self.follower = None if source is None else Follower(session, source, self.loader)
        self._following: asyncio.Task[None] | None = None
        self._reloading: asyncio.Task[None] | None = None
        self.batcher = Batcher(session, self.tasks, settings, self._executed, lend=self.slots.lend)
        self._answering = Answering(self.images, Rides(self.slots, self.batcher), self.cache)
        self._show_gauges()
        if self.cache is not None:
            self._show_cache(self.cache.store)

    def _show_gauges(self) -> None:
        """Add what can be counted at a moment to the metrics: readiness, every queue and budget, and their limits."""
        show, show_each = self.metrics.show, self.metrics.show_each
        show("atd_ready", "1 while requests should come", lambda: self.not_ready is None)
        show("atd_body_bytes", "Bytes of bodies that are read or answered", lambda: self.bytes.used)
        show("atd_decode_pixels", "Pixels of images that are not decoded yet", lambda: self.images.budget.used)
        text = "Rows accepted and not yet answered"
        show_each("atd_queue_rows", text, "task", self._queue_rows)
        show_each("atd_task_tiers", "Tasks by where they lie", "tier", self.loader.tiers)
        states = "Versions of tasks, by their state in the repository's index"
        show_each("atd_tasks", states, "state", self.loader.states)
        limits = {field.name: getattr(self.settings, field.name) for field in fields(self.settings)}
        show_each(
            "atd_limit",
            "The limits that hold; see atd serve --help",
            "limit",
            lambda: {**limits, "max_batch": self.batcher.rows, "instances": self.batcher.instances},
        )

    def _queue_rows(self) -> dict[str, int]:
        """Return how many rows of each served task are not answered."""
        return {name: self.batcher.waiting[name] for name in self.tasks.current.names}

    def _show_cache(self, store: Store) -> None:
        """Add to the metrics how full the response cache is, by the names that Triton's local cache has for it."""
        show = self.metrics.show
        show("nv_cache_util", "How full the response cache is, 0 to 1", lambda: store.used / store.limit)
        show("nv_cache_num_entries", "Answers in the response cache", lambda: len(store))
        show("nv_cache_num_evictions", "Answers that made room for others", lambda: store.evictions)

    @property
    def not_ready(self) -> str | None:
        """Why the server should get no new requests, or None when it should."""
        if self.batcher.failure is not None:
            return "the engine failed its first run"
        if self.draining:
            return "the server is shutting down"
        if not self.batcher.warm:
            return "the engine is warming up"
        return self.batcher.health.problem

    def nearest(self, task: str) -> str:
        """Return " Did you mean 'x'?" for the nearest served task, or ""."""
        return did_you_mean(task, self.tasks.current.names)

    def start(self) -> None:
        """Start warming up and working, and following the bundle where that is asked."""
        self.batcher.start()
        if self.follower is not None and self.follower.watched:
            self._following = asyncio.create_task(self.follower.watch())

    def reload(self) -> None:
        """Bring the tasks in line with the bundle, where there is one; returns before that is done."""
        if self.follower is not None and not self.draining:
            self._reloading = asyncio.create_task(self.follower.follow())

    def abandon(self) -> None:
        """Answer what is unanswered with 503: the time for it is up."""
        self.draining = True
        self.batcher.abandon()
        self.slots.abandon()

    async def close(self) -> None:
        """Answer what was accepted, then stop."""
        self.draining = True
        for work in (self._following, self._reloading):
            if work is not None:
                work.cancel()
        await self.batcher.drain()
        await self.slots.close()
        self.loader.close(wait=not self.batcher.abandoned)
        self.images.close()
        self.parsing.close()

    def failed_early(
        self, tasks: Sequence[ServedTask], error: BaseException, arrived: float, gone: bool = False
    ) -> None:
        """Count a request that failed before `answer` was called; `gone` says that its client left."""
        self.statistics.failed(tasks, "CANCELED" if gone else _reason(error), monotonic() - arrived)

    @contextmanager
    def making(self, tasks: Sequence[ServedTask], served: Served) -> Iterator[None]:
        """Count the time of a `with` block, which makes an answer out of logits; the caller holds the tasks."""
        start = monotonic()
        yield
        self.statistics.made([task for task in tasks if task not in served.hits], monotonic() - start)

    async def answer(
        self,
        images: Sequence[bytes] | Array,
        tasks: Sequence[ServedTask],
        arrived: float,
        deadline: Deadline = NEVER,
        priority: int = DEFAULT_PRIORITY,
    ) -> Served:
        """Answer every image for every task.

        Args:
            images: encoded images, or float32 [N, 3, H, W] of them after preprocessing.
            tasks: of the current generation, or held by the caller (tasks.live_tasks).
            arrived: time.monotonic() when the request came.
            deadline: at which a request that has not run to its end is given up.
            priority: of the requests of one task the one with the lowest number comes first.

        Raises:
            RequestError: an image that can't be decoded, a full queue (503), a passed deadline (504).
            EngineError: the batch failed, or gave NaN.
        """
        with self.tasks.hold(tasks):
            return await self._counted(images, tasks, arrived, deadline, priority)

    async def _counted(
        self,
        images: Sequence[bytes] | Array,
        tasks: Sequence[ServedTask],
        arrived: float,
        deadline: Deadline,
        priority: int,
    ) -> Served:
        self.statistics.began(tasks)
        try:
            self._check_rows(len(images), len(tasks))
            with self.batcher.admit({task.name: len(images) for task in tasks}):
                served = await self._answering.answer(images, tasks, arrived, deadline, priority)
        except asyncio.CancelledError:
            self.statistics.failed(tasks, "CANCELED", monotonic() - arrived)
            raise
        except (RequestError, EngineError) as error:
            self.statistics.failed(tasks, _reason(error), monotonic() - arrived)
            raise
        finally:
            self.statistics.ended(tasks)
        self.statistics.succeeded(tasks, served.timing, served.hits)
        self.metrics.answered(tasks, served.timing, served.hits)
        return served

    def _check_rows(self, images: int, tasks: int) -> None:
        limit = self.settings.largest_request
        if images * tasks > limit:
            raise RequestError(
                f"{images} images for {tasks} tasks are {images * tasks} rows, at most {limit} fit in one request; "
                "send fewer images at a time",
                413,
            )

    def _published(self, task: ServedTask) -> None:
        self.statistics.add(task)
        self.metrics.add(task.name)

    def _released(self, task: ServedTask) -> None:
        if not self.tasks.shows(task.identity):
            self.statistics.remove(task)
        if task.name not in {name for name, _ in self.statistics.tasks}:
            self.metrics.remove(task.name)
        if self.cache is not None:
            self.cache.forget(task)
        self.loader.release(task)

    def _executed(self, batch: BatchRecord) -> None:
        self.statistics.executed(batch)
        self.metrics.executed(batch)


def _reason(error: BaseException) -> str:
    """Return which of statistics.REASONS an error is."""
    if isinstance(error, EngineError):
        return "BACKEND"
    return "REJECTED" if isinstance(error, RequestError) and error.status in (408, 503, 504) else "OTHER"


def _words(session: Session) -> dict[str, str]:
    """Return what runs, name -> word."""
    return {**session.engine.parts, "form": session.form, "backbone": session.backbone}
