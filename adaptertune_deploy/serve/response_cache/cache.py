"""What of a request was answered before, and keeping what was not."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic

from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.serve.batching.rides import Row
from adaptertune_deploy.serve.decoding.parsing import AT_ONCE, ParsePool
from adaptertune_deploy.serve.response_cache.digests import digests, size_of
from adaptertune_deploy.serve.response_cache.store import Store
from adaptertune_deploy.serve.tasks.served_task import ServedTask
from adaptertune_deploy.serve.timing.deadline import Deadline

LOOKING = "the answer was looked up"
HASHED = 4  # bytes that are hashed in the time of taking one apart
PORTION = 1024  # answers that are looked at between two turns of the event loop


@dataclass(frozen=True)
class Known:
    """What is known of a request.

    rows: those that were answered before, with their logits, float32 [classes].
    digests: of its images.
    seconds: that it took to look.
    """

    rows: Mapping[Row, Array] = field(default_factory=dict)
    digests: Sequence[bytes] = ()
    seconds: float = 0.0


class ResponseCache:
    """Answers of one server; belongs to its event loop.

    Two requests for the same that come at the same time are both computed, and the first answer is kept.

    Attributes:
        store: what is kept.
    """

    def __init__(self, limit: int, parsing: ParsePool) -> None:
        """Keep so many bytes; images are hashed where requests are taken apart."""
        self.store = Store(limit)
        self._parsing = parsing

    async def look(self, images: Sequence[bytes] | Array, rows: Sequence[Row], deadline: Deadline) -> Known:
        """Return what is known.

        Args:
            images: N encoded ones, or float32 [N, 3, H, W].
            rows: the places of images, and tasks, which the caller holds (tasks.live_tasks).
            deadline: see Raises.

        Raises:
            RequestError: 504 at the deadline.
        """
        began = monotonic()
        deadline.check(LOOKING)
        hashed = await self._hashed(images, deadline)
        found = {(image, task): self.store.get(hashed[image], task) for image, task in rows}
        hits = {row: logits for row, logits in found.items() if logits is not None}
        return Known(hits, hashed, monotonic() - began)

    def keep(self, known: Known, rows: Sequence[Row], logits: Sequence[Array]) -> float:
        """Keep what rows of a request were answered; the caller still holds their tasks. Return the seconds it took."""
        began = monotonic()
        for (image, task), answer in zip(rows, logits, strict=True):
            self.store.put(known.digests[image], task, answer)
        return monotonic() - began

    def forget(self, task: ServedTask) -> None:
        """Let go of the answers of a task that nobody reads any more, a portion at a time."""
        self.store.forget(task)
        self._free()

    async def _hashed(self, images: Sequence[bytes] | Array, deadline: Deadline) -> list[bytes]:
        effort = size_of(images) // HASHED
        if effort <= AT_ONCE:
            return digests(images)
        return await deadline.within(self._parsing.call(effort, digests, images), LOOKING)

    def _free(self) -> None:
        if self.store.free(PORTION):
            asyncio.get_running_loop().call_soon(self._free)
