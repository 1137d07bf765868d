"""One request's way through slots and batches: its warm tasks ride together, each cold one alone once it has a slot.

A request that held one slot while it waits for another could wait for somebody who waits for its own. So tasks that
have their slots are asked at once, and no cold one holds anything up but its own rows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import TypeAlias

import numpy as np

from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.serve.batching.batch import BatchRecord, Outcome
from adaptertune_deploy.serve.batching.batcher import Batcher
from adaptertune_deploy.serve.tasks.served_task import ServedTask
from adaptertune_deploy.serve.tasks.slots import Slots
from adaptertune_deploy.serve.timing.deadline import Deadline
from adaptertune_deploy.serve.timing.waiting import all_of, end

# The place of an image among those of a request, and the task that is asked about it.
Row: TypeAlias = "tuple[int, ServedTask]"


@dataclass(frozen=True)
class Ridden:
    """What the engine answered to one request.

    logits: float32 [classes of the row's task] for each row.
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
    """Some of the rows, what was answered for them, and how long they waited for slots."""

    rows: Sequence[Row]
    outcome: Outcome
    waited_s: float = 0.0


class Rides:
    """Asks the engine about images; belongs to the event loop."""

    def __init__(self, slots: Slots, batcher: Batcher) -> None:
        """Ride in the batches of a batcher, which runs what lies in slots."""
        self._slots, self._batcher = slots, batcher

    async def ride(self, decoding: Awaitable[Array], rows: Sequence[Row], deadline: Deadline, priority: int) -> Ridden:
        """Answer rows.

        Args:
            decoding: gives float32 [N, 3, H, W] of the images; cold tasks are brought up meanwhile.
            rows: image by image; every image is asked about. The caller holds their tasks (tasks.live_tasks).
            deadline: see batching.batcher.Batcher.submit.
            priority: see there too.

        Raises:
            RequestError, EngineError: see batching.batcher.Batcher.submit and tasks.slots.Slots.brought.
        """
        tasks = list(dict.fromkeys(task for _, task in rows))
        self._slots.count(tasks)
        cold = [task for task in tasks if not self._slots.warm(task)]
        if not cold:
            return _joined(rows, await self._together(await decoding, rows, deadline, priority))
        pixels = asyncio.ensure_future(decoding)

        async def warm() -> list[_Part]:
            others = [row for row in rows if row[1] not in cold]
            return await self._together(await asyncio.shield(pixels), others, deadline, priority)

        try:
            found = await all_of([warm(), *(self._alone(pixels, _of(rows, task), deadline, priority) for task in cold)])
        finally:
            await end(pixels)
        return _joined(rows, [part for parts in found for part in parts])

    async def _together(self, pixels: Array, rows: Sequence[Row], deadline: Deadline, priority: int) -> list[_Part]:
        """Ask tasks that had slots; one that lost its own meanwhile is asked alone."""
        tasks = list(dict.fromkeys(task for _, task in rows))
        lost = [task for task in tasks if not self._slots.warm(task)]
        if not lost:
            with self._slots.lend(tasks):
                return [await self._submit(pixels, rows, deadline, priority)] if rows else []

        async def rest() -> list[_Part]:
            return await self._together(pixels, [row for row in rows if row[1] not in lost], deadline, priority)

        ready: asyncio.Future[Array] = asyncio.get_running_loop().create_future()
        ready.set_result(pixels)
        found = await all_of([rest(), *(self._alone(ready, _of(rows, task), deadline, priority) for task in lost)])
        return [part for parts in found for part in parts]

    async def _alone(
        self, pixels: asyncio.Future[Array], rows: Sequence[Row], deadline: Deadline, priority: int
    ) -> list[_Part]:
        """Ask one task, once it has a slot."""
        began = monotonic()
        async with self._slots.brought(rows[0][1], deadline):
            waited_s = monotonic() - began
            part = await self._submit(await asyncio.shield(pixels), rows, deadline, priority)
        return [_Part(part.rows, part.outcome, waited_s)]

    async def _submit(self, pixels: Array, rows: Sequence[Row], deadline: Deadline, priority: int) -> _Part:
        """Ask about the images that these rows name, and about no others."""
        image = np.array([place for place, _ in rows], dtype=np.int64)
        places, asked = np.unique(image, return_inverse=True)
        images = pixels if len(places) == len(pixels) else pixels[places]
        return _Part(rows, await self._batcher.submit(images, asked, [task for _, task in rows], deadline, priority))


def _of(rows: Sequence[Row], task: ServedTask) -> list[Row]:
    """Return the rows that ask a task."""
    return [row for row in rows if row[1] is task]


def _joined(rows: Sequence[Row], parts: Sequence[_Part]) -> Ridden:
    """Return parts that answer all rows as one."""
    queue_s = max(part.outcome.queue_s + part.waited_s for part in parts)
    infer_s = sum(part.outcome.infer_s for part in parts)
    batch = max((part.outcome.batch for part in parts), key=lambda record: record.size)
    if len(parts) == 1:
        return Ridden(parts[0].outcome.logits, queue_s, infer_s, batch)
    found = {row: logits for part in parts for row, logits in zip(part.rows, part.outcome.logits, strict=True)}
    return Ridden([found[row] for row in rows], queue_s, infer_s, batch)
