"""The requests that wait, in fair order: whoever's task was served least comes next, row by row.

Start-time fair queueing (Goyal, Vin, Cheng 1996) over tasks by name: a task that has been away gets no credit for it,
and one that floods the queue delays only itself. Within a task, priority and then arrival decide: a priority of one's
own can't hold up the tasks of others. Rows of one request that ride in one batch lie side by side.

A fair order alone does not keep tasks from hurting each other: a row waits for the run that goes on and for the rest
of its own, and both are as long as their rows are many. So while a task is around that has few rows, or had some a
moment ago, tasks that have many get as many of them into a run as make it hardly longer. When all have many, or one is
alone, runs are as large as they may be. Rows count from acceptance to answer: a flood has many though it waits for its
images to be decoded.
"""

from __future__ import annotations

import bisect
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from time import monotonic

from adaptertune_deploy.serve.batching.batch import Job, Part

PRIORITIES = 3
DEFAULT_PRIORITY = 2
AROUND_S = 10.0
MANY = 2  # times the rows of whoever has the fewest
FLOOD = 8  # rows; of a task that others are to be kept from, and that has no two runs at the same time then
Key = tuple[str, ...]
Alongside = Callable[[int, int], int]


def any_number(images: int, most: int) -> int:
    """Let a run have as many images as it may: nobody knows how long runs take."""
    return most


class FairQueue:
    """Jobs of which rows wait; belongs to the event loop."""

    def __init__(
        self, clock: Callable[[], float] = monotonic, accepted: Callable[[], Mapping[str, int]] = dict
    ) -> None:
        """Begin empty.

        Args:
            clock: returns seconds.
            accepted: returns each task's rows that are not answered yet, by its name; they need not wait here.
        """
        self._queues: dict[Key, list[Job]] = {}
        self._served: defaultdict[str, int] = defaultdict(int)
        self._waiting: Counter[str] = Counter()
        self._around: dict[str, float] = {}
        self._time, self._accepted = clock, accepted
        self._clock = 0
        self._arrivals = 0

    def __bool__(self) -> bool:
        return bool(self._queues)

    def jobs(self) -> list[Job]:
        """Return every job."""
        return [job for queue in list(self._queues.values()) for job in queue]

    def push(self, job: Job) -> None:
        """Add a job."""
        self._arrivals += 1
        job.arrival = self._arrivals
        key, now = _key(job), self._time()
        for task in key:
            if not self._waiting[task]:
                self._served[task] = max(self._served[task], self._clock)
            self._around[task] = now
        self._waiting.update(task.name for task in job.task[job.taken :])
        bisect.insort(self._queues.setdefault(key, []), job, key=_order)

    def remove(self, job: Job) -> None:
        """Take a job out, if it is there."""
        key = _key(job)
        queue = self._queues.get(key, [])
        if job in queue:
            queue.remove(job)
            self._waiting.subtract(task.name for task in job.task[job.taken :])
            if not queue:
                del self._queues[key]

    def take(self, space: int, most: int = 0, alongside: Alongside = any_number, beside: bool = False) -> list[Part]:
        """Take so many rows, or all where fewer wait; parts come in the order of their requests' arrival.

        Beside a run that goes on, another one slows that down. So there is one only of as many rows as may be, or where
        some task has many waiting; and none of a task that floods the queue while others are around.

        Args:
            space: rows.
            most: rows that there may be where others ask about an image of these: it runs once for all of them.
            alongside: tells how many images a run may have in all, and take hardly longer than with so many; see
                run_times.RunTimes.alongside.
            beside: whether a run goes on whose threads these rows would share.
        """
        begun: dict[Job, int] = {}
        crowded = self._crowded(alongside(1, space))
        kept = {task for task, rows in crowded.items() if rows > FLOOD} if beside else set()
        if beside and not crowded and sum(self._waiting.values()) < space:
            return []
        left: set[Key] = set()
        taken = modest = 0
        while taken < space and (key := self._next(left)) is not None:
            job = self._queues[key][0]
            if job.future.done():
                self.remove(job)
                continue
            heavy = not crowded.keys().isdisjoint(key)
            if not kept.isdisjoint(key) or (heavy and taken >= alongside(max(1, modest), space)):
                left.add(key)
                continue
            begun.setdefault(job, job.taken)
            self._clock = self._turn(key)[0]
            self._take_row(job)
            taken, modest = taken + 1, modest + (not heavy)
        for job in begun:
            while taken < most and 0 < job.taken < len(job.task) and job.image[job.taken] == job.image[job.taken - 1]:
                self._take_row(job)
                taken += 1
        return [Part(job, start, job.taken) for job, start in sorted(begun.items(), key=lambda item: item[0].arrival)]

    def _take_row(self, job: Job) -> None:
        name = job.task[job.taken].name
        self._served[name] += 1
        self._waiting[name] -= 1
        self._around[name] = self._time()
        job.taken += 1
        if job.taken == len(job.task):
            self.remove(job)

    def _crowded(self, few: int) -> dict[str, int]:
        """Return the rows of the tasks that have many, more than a few and more than another one that is around."""
        since, accepted = self._time() - AROUND_S, self._accepted()
        self._around = {task: at for task, at in self._around.items() if at >= since or self._waiting[task]}
        rows = {task: max(self._waiting[task], accepted.get(task, 0)) for task in self._around}
        fewest = min(rows.values(), default=0)
        return {task: count for task, count in rows.items() if count > max(few, MANY * fewest)}

    def _next(self, left: set[Key]) -> Key | None:
        return min((key for key in self._queues if key not in left), key=self._turn, default=None)

    def _turn(self, key: Key) -> tuple[int, int]:
        return max(self._served[task] for task in key), self._queues[key][0].arrival


def _key(job: Job) -> Key:
    return tuple(sorted({task.name for task in job.task}))


def _order(job: Job) -> tuple[int, int]:
    return job.priority, job.arrival
