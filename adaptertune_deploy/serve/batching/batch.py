"""One engine run: which rows of which requests ride in it, and how their answers go back."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.serve.logs.context import request_id
from adaptertune_deploy.serve.sessions.logits import check_finite
from adaptertune_deploy.serve.tasks.served_task import ServedTask

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class BatchRecord:
    """One engine run that succeeded.

    rows: task -> rows of that task.
    images: images in the batch.
    seconds: inside the engine.
    nonfinite: task -> rows whose logits were NaN or infinite.
    instance: which of the runs at the same time it was, from 0.
    """

    rows: Mapping[ServedTask, int]
    images: int
    seconds: float
    nonfinite: Mapping[ServedTask, int]
    instance: int = 0

    @property
    def size(self) -> int:
        """Rows of all tasks."""
        return sum(self.rows.values())


@dataclass(frozen=True)
class Outcome:
    """What the engine answered to one request.

    logits: float32 [classes of the row's task] for each of its rows, in their order.
    queue_s: seconds from submission until its first batch began.
    infer_s: seconds inside the engine, over the batches it rode in.
    batch: the largest of these batches.
    """

    logits: list[Array]
    queue_s: float
    infer_s: float
    batch: BatchRecord


@dataclass(eq=False)
class Job:
    """A request on its way through the queue.

    images: float32 [N, 3, H, W].
    image: int64 [B], which image each row asks about; rows of one image side by side, images in order.
    task: B of them, which each row asks for.
    submitted: time.monotonic() value.
    priority: of the requests of one task the one with the lowest number comes first.
    arrival: its place among all requests.
    taken: rows that are already in a batch.
    logits, batches: what came back so far; rows by their place, since a later part may be answered first.
    request_id: of the request, for the log.
    """

    images: Array
    image: Indices
    task: Sequence[ServedTask]
    future: asyncio.Future[Outcome]
    submitted: float
    priority: int = 0
    arrival: int = 0
    taken: int = 0
    queue_s: float = 0.0
    logits: dict[int, Array] = field(default_factory=dict)
    batches: list[BatchRecord] = field(default_factory=list)
    request_id: str = field(default_factory=request_id)

    def fail(self, error: Exception) -> None:
        """End the request with an error, unless it has ended."""
        if not self.future.done():
            self.future.set_exception(error)

    def finish(self) -> None:
        """End the request with its answer, unless it has ended."""
        if not self.future.done():
            infer_s = sum(batch.seconds for batch in self.batches)
            largest = max(self.batches, key=lambda batch: batch.size)
            logits = [self.logits[row] for row in range(len(self.task))]
            self.future.set_result(Outcome(logits, self.queue_s, infer_s, largest))


@dataclass(frozen=True)
class Part:
    """Rows start..stop of a job, as they ride in one batch."""

    job: Job
    start: int
    stop: int

    @property
    def image(self) -> Indices:
        """The rows' images, indices into the job's."""
        return self.job.image[self.start : self.stop]

    @property
    def task(self) -> Sequence[ServedTask]:
        """The rows' tasks."""
        return self.job.task[self.start : self.stop]


def join(parts: Sequence[Part]) -> tuple[Array, Indices, Indices]:
    """Return images [N, 3, H, W], image [B] and keys [B] of a batch; no copy of images when it has one part."""
    images: list[Array] = []
    image: list[Indices] = []
    offset = 0
    for part in parts:
        first, last = int(part.image[0]), int(part.image[-1])
        images.append(part.job.images[first : last + 1])
        image.append(part.image - (first - offset))
        offset += last + 1 - first
    joined = images[0] if len(images) == 1 else np.concatenate(images)
    keys = np.array([task.key for part in parts for task in part.task], dtype=np.int64)
    return joined, np.concatenate(image), keys


def deliver(parts: Sequence[Part], logits: Sequence[Array], seconds: float, instance: int = 0) -> BatchRecord:
    """Hand every request its rows of a batch; rows that are not finite fail their own request only."""
    rows: Counter[ServedTask] = Counter()
    nonfinite: Counter[ServedTask] = Counter()
    errors: dict[Job, EngineError] = {}
    images = place = 0
    for part in parts:
        images += int(part.image[-1]) - int(part.image[0]) + 1  # rows of one image lie side by side, images in order
        for row, task in enumerate(part.task, part.start):
            rows[task] += 1
            try:
                check_finite(task.spec, logits[place])
            except EngineError as error:
                nonfinite[task] += 1
                errors[part.job] = error
            part.job.logits[row] = logits[place]
            place += 1
    record = BatchRecord(rows, images, seconds, nonfinite, instance)
    for part in parts:
        part.job.batches.append(record)
        if part.job in errors:
            part.job.fail(errors[part.job])
        elif len(part.job.logits) == len(part.job.task):
            part.job.finish()
    return record
