"""The requests that wait, in fair order: whoever's task was served least comes next, row by row.

Start-time fair queueing (Goyal, Vin, Cheng 1996) over tasks by name: a task that has been away gets no credit for it,
and one that floods the queue delays only itself. Within a task, priority and then arrival decide: a priority of one's
own can't hold up the tasks of others. Rows of one request that ride in one batch lie side by side.
"""

from __future__ import annotations

import bisect
from collections import defaultdict

from adaptertune_deploy.serve.batching.batch import Job, Part

PRIORITIES = 3
DEFAULT_PRIORITY = 2
Key = tuple[str, ...]


class FairQueue:
    """Jobs of which rows wait; belongs to the event loop."""

    def __init__(self) -> None:
        """Begin empty."""
        self._queues: dict[Key, list[Job]] = {}
        self._served: defaultdict[str, int] = defaultdict(int)
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
        key = _key(job)
        waiting = {task for other in self._queues for task in other}
        for task in key:
            if task not in waiting:
                self._served[task] = max(self._served[task], self._clock)
        bisect.insort(self._queues.setdefault(key, []), job, key=_order)

    def remove(self, job: Job) -> None:
        """Take a job out, if it is there."""
        key = _key(job)
        queue = self._queues.get(key, [])
        if job in queue:
            queue.remove(job)
            if not queue:
                del self._queues[key]

    def take(self, space: int) -> list[Part]:
        """Take so many rows, or all where fewer wait; parts come in the order of their requests' arrival."""
        begun: dict[Job, int] = {}
        while self._queues and space:
            key = min(self._queues, key=self._turn)
            job = self._queues[key][0]
            if job.future.done():
                self.remove(job)
                continue
            begun.setdefault(job, job.taken)
            self._clock = self._turn(key)[0]
            self._served[job.task[job.taken].name] += 1
            job.taken += 1
            space -= 1
            if job.taken == len(job.task):
                self.remove(job)
        return [Part(job, start, job.taken) for job, start in sorted(begun.items(), key=lambda item: item[0].arrival)]

    def _turn(self, key: Key) -> tuple[int, int]:
        return max(self._served[task] for task in key), self._queues[key][0].arrival


def _key(job: Job) -> Key:
    return tuple(sorted({task.name for task in job.task}))


def _order(job: Job) -> tuple[int, int]:
    return job.priority, job.arrival
