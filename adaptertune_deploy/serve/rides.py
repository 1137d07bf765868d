"""One request's way through slots and batches: its warm tasks ride together, each cold one alone once it has a slot.

A request that held one slot while it waits for another could wait for somebody who waits for its own. So tasks that
have their slots are asked at once, and no cold one holds anything up but its own rows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from time import monotonic

import numpy as np

from adaptertune_deploy.core.tensors import Array
from adaptertune_deploy.serve.batching.batch import BatchRecord, Outcome
from adaptertune_deploy.serve.batching.batcher import Batcher
from adaptertune_deploy.serve.batching.deadline import Deadline
from adaptertune_deploy.serve.batching.waiting import all_of, end
from adaptertune_deploy.serve.tasks.served_task import ServedTask
from adaptertune_deploy.serve.tasks.slots import Slots


@dataclass(frozen=True)
class Ridden:
    """What the engine answered to one request.

    logits: float32 [classes of the row's task] for each row, image by image, in each the tasks as asked.
    queue_s: the longest of its waits, for a slot and for its first batch.
    infer_s: seconds inside the engine, over the batches it rode in.
    batch: the largest of these.
    """

    logits: list[Array]
    queue_s: float
    infer_s: float
    batch: BatchRecord


@dataclass(frozen=True)
class _Part:
    """Some of the tasks, what was answered for them, and how long they waited for slots."""

    tasks: Sequence[ServedTask]
    outcome: Outcome
    waited_s: float = 0.0


class Rides:
    """Asks the engine about images; belongs to the event loop."""

    def __init__(self, slots: Slots, batcher: Batcher) -> None:
        """Ride in the batches of a batcher, which runs what lies in slots."""
        self._slots, self._batcher = slots, batcher

    async def ride(
        self, decoding: Awaitable[Array], tasks: Sequence[ServedTask], deadline: Deadline, priority: int
    ) -> Ridden:
        """Answer every image for every task.

        Args:
            decoding: gives float32 [N, 3, H, W] of the images; cold tasks are brought up meanwhile.
            tasks: the caller holds them (tasks.live_tasks).
            deadline: see batching.batcher.Batcher.submit.
            priority: see there too.

        Raises:
            RequestError, EngineError: see batching.batcher.Batcher.submit and tasks.slots.Slots.brought.
        """
        self._slots.count(tasks)
        cold = [task for task in tasks if not self._slots.warm(task)]
        if not cold:
            return _joined(tasks, await self._together(await decoding, tasks, deadline, priority))
        pixels = asyncio.ensure_future(decoding)

        async def warm() -> list[_Part]:
            others = [task for task in tasks if task not in cold]
            return await self._together(await asyncio.shield(pixels), others, deadline, priority)

        try:
            found = await all_of([warm(), *(self._alone(pixels, task, deadline, priority) for task in cold)])
        finally:
            await end(pixels)
        return _joined(tasks, [part for parts in found for part in parts])

    async def _together(
        self, pixels: Array, tasks: Sequence[ServedTask], deadline: Deadline, priority: int
    ) -> list[_Part]:
        """Ask tasks that had slots; one that lost its own meanwhile is asked alone."""
        warm = [task for task in tasks if self._slots.warm(task)]
        lost = [task for task in tasks if task not in warm]
        if not lost:
            with self._slots.lend(warm):
                return [await self._submit(pixels, warm, deadline, priority)] if warm else []

        async def rest() -> list[_Part]:
            return await self._together(pixels, warm, deadline, priority)

        ready: asyncio.Future[Array] = asyncio.get_running_loop().create_future()
        ready.set_result(pixels)
        found = await all_of([rest(), *(self._alone(ready, task, deadline, priority) for task in lost)])
        return [part for parts in found for part in parts]

    async def _alone(
        self, pixels: asyncio.Future[Array], task: ServedTask, deadline: Deadline, priority: int
    ) -> list[_Part]:
        began = monotonic()
        async with self._slots.brought(task, deadline):
            waited_s = monotonic() - began
            part = await self._submit(await asyncio.shield(pixels), [task], deadline, priority)
        return [_Part(part.tasks, part.outcome, waited_s)]

    async def _submit(self, pixels: Array, tasks: Sequence[ServedTask], deadline: Deadline, priority: int) -> _Part:
        image = np.repeat(np.arange(len(pixels), dtype=np.int64), len(tasks))
        return _Part(tasks, await self._batcher.submit(pixels, image, [*tasks] * len(pixels), deadline, priority))


def _joined(tasks: Sequence[ServedTask], parts: Sequence[_Part]) -> Ridden:
    """Return parts that answer all tasks about the same images as one."""
    queue_s = max(part.outcome.queue_s + part.waited_s for part in parts)
    infer_s = sum(part.outcome.infer_s for part in parts)
    batch = max((part.outcome.batch for part in parts), key=lambda record: record.size)
    if len(parts) == 1:
        return Ridden(parts[0].outcome.logits, queue_s, infer_s, batch)
    columns = {
        task: part.outcome.logits[place :: len(part.tasks)] for part in parts for place, task in enumerate(part.tasks)
    }
    images = len(columns[tasks[0]])
    return Ridden([columns[task][image] for image in range(images) for task in tasks], queue_s, infer_s, batch)
