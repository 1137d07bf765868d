"""One server's insides, shared by every endpoint: session, image threads, batcher, counters, readiness."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic

import numpy as np

from adaptertune_deploy.core.errors import EngineError, RequestError, did_you_mean
from adaptertune_deploy.core.tensors import Array
from adaptertune_deploy.serve.batch import BatchRecord
from adaptertune_deploy.serve.batcher import Batcher
from adaptertune_deploy.serve.images import ImagePool
from adaptertune_deploy.serve.metrics import Metrics
from adaptertune_deploy.serve.session import Session
from adaptertune_deploy.serve.settings import Settings, fitting
from adaptertune_deploy.serve.statistics import Statistics, Timing


@dataclass(frozen=True)
class Served:
    """What one request got.

    logits: float32 [classes of the row's task] for each row, image by image, in each the tasks as asked.
    timing: where its time went.
    batch: the largest batch it rode in.
    """

    logits: list[Array]
    timing: Timing
    batch: BatchRecord


class Service:
    """Answers requests about encoded images; belongs to one event loop.

    Attributes:
        draining: set to make the server say that it is not ready while it goes on answering.
    """

    def __init__(self, session: Session, settings: Settings) -> None:
        """Take a session, which stays the caller's to close; batches get no larger than its engine takes."""
        self.session = session
        settings = self.settings = fitting(settings, session.engine.limits)
        self.draining = False
        self.images = ImagePool(session.preprocess, settings.decode_threads, settings.max_pixels)
        self.statistics = Statistics(task.name for task in session.tasks)
        self.metrics = Metrics(self.statistics)
        self.batcher = Batcher(session, settings.max_batch, settings.queue_limit, self._executed)
        self._places = {task.name: place for place, task in enumerate(session.tasks)}

    @property
    def not_ready(self) -> str | None:
        """Why the server should get no new requests, or None when it should."""
        if self.batcher.failure is not None:
            return "the engine failed its first run"
        if self.draining:
            return "the server is shutting down"
        if not self.batcher.warm:
            return "the engine is warming up"
        return None

    def place(self, task: str) -> int | None:
        """Return a task's index in the session, or None when it is not served."""
        return self._places.get(task)

    def nearest(self, task: str) -> str:
        """Return " Did you mean 'x'?" for the nearest served task, or ""."""
        return did_you_mean(task, self._places)

    def start(self) -> None:
        """Start warming up and working."""
        self.batcher.start()

    async def close(self) -> None:
        """Answer what was accepted, then stop."""
        self.draining = True
        await self.batcher.drain()
        self.images.close()

    def check_room(self, tasks: Sequence[int], arrived: float) -> None:
        """Refuse a request before its body is read when even one image would not fit; counts the refusal.

        Raises:
            RequestError: 503, see Batcher.check_room.
        """
        try:
            self.batcher.check_room(len(tasks))
        except RequestError:
            self.statistics.failed(tasks, "REJECTED", monotonic() - arrived)
            raise

    async def answer(
        self, encoded: Sequence[bytes], tasks: Sequence[int], arrived: float, timeout_s: float | None = None
    ) -> Served:
        """Answer every image for every task.

        Args:
            encoded: encoded images.
            tasks: indices of the session's tasks.
            arrived: time.monotonic() when the request came.
            timeout_s: seconds from `arrived` after which a request that has not begun to run is given up.

        Raises:
            RequestError: an image that can't be decoded, a full queue (503), a passed deadline (504).
            EngineError: the batch failed, or gave NaN.
        """
        self.statistics.began(tasks)
        try:
            served = await self._answer(encoded, tasks, arrived, timeout_s)
        except asyncio.CancelledError:
            self.statistics.failed(tasks, "CANCELED", monotonic() - arrived)
            raise
        except RequestError as error:
            reason = "REJECTED" if error.status in (503, 504) else "OTHER"
            self.statistics.failed(tasks, reason, monotonic() - arrived)
            raise
        except EngineError:
            self.statistics.failed(tasks, "BACKEND", monotonic() - arrived)
            raise
        finally:
            self.statistics.ended(tasks)
        self.statistics.succeeded(tasks, served.timing)
        self.metrics.answered(served.timing)
        return served

    async def _answer(
        self, encoded: Sequence[bytes], tasks: Sequence[int], arrived: float, timeout_s: float | None
    ) -> Served:
        self._check_rows(len(encoded), len(tasks))
        with self.batcher.admit(len(encoded) * len(tasks)):
            start = monotonic()
            images = await self._load(encoded, None if timeout_s is None else arrived + timeout_s - start)
            preprocess_s = monotonic() - start
            image = np.repeat(np.arange(len(encoded), dtype=np.int64), len(tasks))
            task = np.tile(np.array(tasks, dtype=np.int64), len(encoded))
            deadline = None if timeout_s is None else arrived + timeout_s
            outcome = await self.batcher.submit(images, image, task, deadline)
        timing = Timing(monotonic() - arrived, outcome.queue_s, preprocess_s, outcome.infer_s)
        return Served(outcome.logits, timing, outcome.batch)

    def _check_rows(self, images: int, tasks: int) -> None:
        limit = self.settings.largest_request
        if images * tasks > limit:
            raise RequestError(
                f"{images} images for {tasks} tasks are {images * tasks} rows, at most {limit} fit in one request; "
                "send fewer images at a time",
                413,
            )

    async def _load(self, encoded: Sequence[bytes], timeout_s: float | None) -> Array:
        try:
            return await asyncio.wait_for(self.images.load(encoded), timeout_s)
        except asyncio.TimeoutError:
            raise RequestError(
                "Request timeout expired: the deadline passed while the images were decoded", 504
            ) from None

    def _executed(self, batch: BatchRecord) -> None:
        self.statistics.executed(batch)
        self.metrics.executed(batch)
