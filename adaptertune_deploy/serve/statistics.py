"""Per-task counters, in the terms of Triton's statistics extension.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_statistics.md
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from adaptertune_deploy.serve.batching.batch import BatchRecord
from adaptertune_deploy.serve.tasks.served_task import ServedTask

REASONS = ("REJECTED", "CANCELED", "BACKEND", "OTHER")


@dataclass
class Tally:
    """How often something happened and how long it took in all."""

    count: int = 0
    ns: int = 0

    def add(self, seconds: float) -> None:
        """Count one more."""
        self.count += 1
        self.ns += round(seconds * 1e9)


@dataclass(frozen=True)
class Timing:
    """Seconds that one answered request spent, from its arrival on.

    read_s: until its images are taken out of its body and their decoding begins.
    cache_s: looking up what was answered before and keeping what was not; None where nothing is kept.
    """

    total_s: float
    queue_s: float
    preprocess_s: float
    infer_s: float
    read_s: float = 0.0
    cache_s: float | None = None


@dataclass
class TaskStatistics:
    """What happened to one version of a task since it was loaded.

    failures: reason -> requests.
    rows: rows that ran; executions: engine runs with a row of this task.
    pending: requests accepted and not yet answered.
    last_inference_ms: milliseconds since the epoch, 0 before the first.
    batches: rows of this task in a batch -> engine runs of that kind.
    """

    success: Tally = field(default_factory=Tally)
    fail: Tally = field(default_factory=Tally)
    queue: Tally = field(default_factory=Tally)
    compute_input: Tally = field(default_factory=Tally)
    compute_infer: Tally = field(default_factory=Tally)
    compute_output: Tally = field(default_factory=Tally)
    cache_hit: Tally = field(default_factory=Tally)
    cache_miss: Tally = field(default_factory=Tally)
    failures: dict[str, int] = field(default_factory=lambda: dict.fromkeys(REASONS, 0))
    rows: int = 0
    executions: int = 0
    pending: int = 0
    last_inference_ms: int = 0
    batches: dict[int, Tally] = field(default_factory=dict)


class Statistics:
    """The counters of every task that requests get or still have; touched only on the event loop.

    Attributes:
        tasks: (name, version) -> counters.
    """

    def __init__(self, tasks: Iterable[ServedTask] = ()) -> None:
        """Start every counter at 0."""
        self.tasks: dict[tuple[str, int], TaskStatistics] = {}
        for task in tasks:
            self.add(task)

    def add(self, task: ServedTask) -> None:
        """Count for a task from now on, where that is not done yet."""
        self.tasks.setdefault(task.identity, TaskStatistics())

    def remove(self, task: ServedTask) -> None:
        """Forget a task that no request has any more."""
        del self.tasks[task.identity]

    def began(self, tasks: Iterable[ServedTask]) -> None:
        """Count a request as pending for each of its tasks."""
        for task in tasks:
            self.tasks[task.identity].pending += 1

    def ended(self, tasks: Iterable[ServedTask]) -> None:
        """Count a request as no longer pending."""
        for task in tasks:
            self.tasks[task.identity].pending -= 1

    def succeeded(self, tasks: Iterable[ServedTask], timing: Timing, hits: Collection[ServedTask] = ()) -> None:
        """Count an answered request for each of its tasks; of `hits` the response cache had every row.

        As Triton's, a request is a hit or a miss of a task, and a hit counts in `success` and `queue` only.
        """
        for task in tasks:
            entry = self.tasks[task.identity]
            entry.success.add(timing.total_s)
            entry.queue.add(0.0 if task in hits else timing.queue_s)
            if task not in hits:
                entry.compute_input.add(timing.preprocess_s)
                entry.compute_infer.add(timing.infer_s)
            if timing.cache_s is not None:
                (entry.cache_hit if task in hits else entry.cache_miss).add(timing.cache_s)

    def made(self, tasks: Iterable[ServedTask], seconds: float) -> None:
        """Count the making of an answer for each of its tasks."""
        for task in tasks:
            self.tasks[task.identity].compute_output.add(seconds)

    def failed(self, tasks: Iterable[ServedTask], reason: str, seconds: float) -> None:
        """Count a failed request for each of its tasks; `reason` is one of REASONS."""
        for task in tasks:
            entry = self.tasks[task.identity]
            entry.fail.add(seconds)
            entry.failures[reason] += 1

    def executed(self, batch: BatchRecord) -> None:
        """Count an engine run for every task in it."""
        now = time.time_ns() // 1_000_000
        for task, rows in batch.rows.items():
            entry = self.tasks[task.identity]
            entry.rows += rows
            entry.executions += 1
            entry.last_inference_ms = now
            entry.batches.setdefault(rows, Tally()).add(batch.seconds)
