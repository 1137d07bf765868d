"""How long engine runs of so many images take on this machine, and what that says about batches."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from adaptertune_deploy.engines.limits import steps_up_to
from adaptertune_deploy.serve.sessions.session import Session

ENOUGH = 0.95  # of the most images a second: rows of a smaller batch wait shorter
HARDLY = 1.1  # times as long as another run is hardly longer
TIMES_OVER = 2.0  # as long as the run of one image is long
ROUNDS = (3, 9)  # at least, at most
SECONDS = 1.0  # in which there may be more rounds than the least


@dataclass(frozen=True)
class RunTimes:
    """Seconds that runs took.

    seconds: images of a run, each asked for one task -> median seconds; ascending, from 1.
    """

    seconds: Mapping[int, float]

    def __post_init__(self) -> None:
        if list(self.seconds) != sorted(self.seconds) or min(self.seconds, default=0) != 1:
            raise ValueError(f"runs of {list(self.seconds)} images: expected ascending numbers from 1")

    @property
    def rates(self) -> dict[int, float]:
        """Images a second, by images of a run."""
        return {images: images / seconds for images, seconds in self.seconds.items()}

    def of(self, images: int) -> float:
        """Return the seconds of a run: between two that were timed on the line, beyond the largest in proportion."""
        largest = max(self.seconds)
        if images > largest:
            return self.seconds[largest] * images / largest
        return float(np.interp(images, list(self.seconds), list(self.seconds.values())))

    def smallest_fast(self) -> int:
        """Return the smallest batch, of those that were timed, with hardly fewer images a second than the best."""
        enough = ENOUGH * max(self.rates.values())
        return next(images for images, rate in self.rates.items() if rate >= enough)

    def alongside(self, images: int, most: int) -> int:
        """Return how many images a run may have in all, `most` at most, and take hardly longer than with `images`."""
        allowed = HARDLY * self.of(images)
        return next((count for count in range(most, images, -1) if self.of(count) <= allowed), min(images, most))


def time_runs(
    session: Session, key: int, most: int, finds: bool, clock: Callable[[], float] = perf_counter
) -> RunTimes:
    """Time runs of 1, 2, 4 and so on up to `most` gray images, in rounds that each hold every size once.

    So what else the machine does hits all sizes alike. Two runs of each come before: they say which sizes are worth it.

    Args:
        session: runs them.
        key: of the task that is asked.
        most: images of the largest run.
        finds: whether a batch is to be found: no larger runs are timed than the first that brings fewer images a
            second. Else none beyond the first that takes TIMES_OVER as long as one image: it is not hardly longer.
        clock: returns seconds.

    Raises:
        EngineError: the engine failed.
    """
    pixels = np.zeros((most, 3, *session.preprocess.size), dtype=np.float32)

    def run(images: int) -> float:
        begun = clock()
        session.run(pixels[:images], np.arange(images, dtype=np.int64), np.full(images, key, dtype=np.int64))
        return clock() - begun

    sizes = list(_wanted(steps_up_to(most), run, finds))
    taken: dict[int, list[float]] = {images: [] for images in sizes}
    begun, (least, rounds) = clock(), ROUNDS
    while len(taken[1]) < least or (len(taken[1]) < rounds and clock() - begun < SECONDS):
        for images in sizes:
            taken[images].append(run(images))
    return RunTimes({images: statistics.median(seconds) for images, seconds in taken.items()})


def _wanted(sizes: Iterable[int], run: Callable[[int], float], finds: bool) -> Iterator[int]:
    """Yield sizes as far as they are worth it; see time_runs."""
    alone = best = 0.0
    for images in sizes:
        seconds = min(run(images), run(images))
        yield images
        alone, rate = alone or seconds, images / seconds
        if rate < best if finds else seconds > TIMES_OVER * alone:
            return
        best = max(best, rate)
