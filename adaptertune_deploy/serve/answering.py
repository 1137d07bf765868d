"""One request's way from images to logits: out of the cache what it holds, the rest decoded and run.

What protects the server holds for both: a request is admitted before it comes here, its deadline is looked at, and
images are measured before they are hashed. One small image is hashed first, which takes less than a look at its header;
what is not in order has never been answered, so it is not in the cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic

import numpy as np

from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.serve.batching.batch import BatchRecord
from adaptertune_deploy.serve.batching.rides import Ridden, Rides, Row
from adaptertune_deploy.serve.decoding.images import ImagePool
from adaptertune_deploy.serve.response_cache.cache import Known, ResponseCache
from adaptertune_deploy.serve.statistics import Timing
from adaptertune_deploy.serve.tasks.served_task import ServedTask
from adaptertune_deploy.serve.timing.deadline import Deadline


@dataclass(frozen=True)
class Served:
    """What one request got.

    logits: float32 [classes of the row's task] for each row, image by image, in each the tasks as asked; not to be
        written to.
    timing: where its time went.
    batch: the largest batch it rode in; None where no row had to.
    cached: rows that the cache answered; None where there is no cache.
    hits: the tasks of which it answered every row.
    """

    logits: list[Array]
    timing: Timing
    batch: BatchRecord | None
    cached: int | None = None
    hits: frozenset[ServedTask] = frozenset()


@dataclass
class _Asked:
    """One request. sizes: pixels of its images, once they are measured. preprocess_s: of its images so far."""

    images: Sequence[bytes] | Array
    rows: Sequence[Row]
    deadline: Deadline
    priority: int
    sizes: list[int] = field(default_factory=list)
    preprocess_s: float = 0.0


class Answering:
    """Answers rows; belongs to the event loop.

    Args:
        images: decodes.
        rides: ask the engine.
        cache: of answers; None for none.
    """

    def __init__(self, images: ImagePool, rides: Rides, cache: ResponseCache | None = None) -> None:
        self._images, self._rides, self._cache = images, rides, cache

    async def answer(
        self,
        images: Sequence[bytes] | Array,
        tasks: Sequence[ServedTask],
        arrived: float,
        deadline: Deadline,
        priority: int,
    ) -> Served:
        """Answer every image for every task; see service.Service.answer, which has admitted the rows."""
        start = monotonic()
        rows = [(image, task) for image in range(len(images)) for task in tasks]
        asked = _Asked(images, rows, deadline, priority)
        known = Known() if self._cache is None else await self._look(self._cache, asked)
        missing = [row for row in rows if row not in known.rows]
        ridden = await self._ride(asked, missing) if missing else None
        answers = dict(known.rows)
        kept_s = 0.0
        if ridden is not None:
            answers.update(zip(missing, ridden.logits, strict=True))
            kept_s = 0.0 if self._cache is None else self._cache.keep(known, missing, ridden.logits)
        timing = Timing(
            total_s=monotonic() - arrived,
            queue_s=0.0 if ridden is None else ridden.queue_s,
            preprocess_s=asked.preprocess_s,
            infer_s=0.0 if ridden is None else ridden.infer_s,
            read_s=start - arrived,
            cache_s=None if self._cache is None else known.seconds + kept_s,
        )
        return Served(
            [answers[row] for row in rows],
            timing,
            None if ridden is None else ridden.batch,
            None if self._cache is None else len(known.rows),
            frozenset(tasks).difference(task for _, task in missing),
        )

    async def _look(self, cache: ResponseCache, asked: _Asked) -> Known:
        """Return what is known of a request whose images are in order."""
        images = asked.images
        if not isinstance(images, np.ndarray) and not self._images.is_small(images):
            began = monotonic()
            asked.sizes = await self._images.measure(images, asked.deadline)
            asked.preprocess_s += monotonic() - began
        return await cache.look(images, asked.rows, asked.deadline)

    async def _ride(self, asked: _Asked, rows: Sequence[Row]) -> Ridden:
        """Have the engine answer rows of a request."""
        places = list(dict.fromkeys(image for image, _ in rows))
        numbers = {image: number for number, image in enumerate(places)}
        riding = [(numbers[image], task) for image, task in rows]
        return await self._rides.ride(self._decode(asked, places), riding, asked.deadline, asked.priority)

    async def _decode(self, asked: _Asked, places: Sequence[int]) -> Array:
        """Return the images in some places, float32 [N, 3, H, W]."""
        images = asked.images
        if isinstance(images, np.ndarray):
            return images if len(places) == len(images) else images[places]
        began = monotonic()
        pixels = await self._images.load(images, asked.deadline, asked.sizes, places)
        asked.preprocess_s += monotonic() - began
        return pixels
