from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptertune_deploy.serve.batching.batch import Job
from adaptertune_deploy.serve.batching.fair_queue import FairQueue
from adaptertune_deploy.serve.tasks.served_task import ServedTask
from tests.builders import make_task
from tests.serve.fakes import indices, random_images

LOOP = asyncio.new_event_loop()


@pytest.fixture(scope="module", autouse=True)
def _close() -> Iterator[None]:
    yield
    LOOP.close()


def named(*tasks: int) -> list[ServedTask]:
    """Return tasks that go by a number; of each there is another version in every job."""
    own = {place: ServedTask(place, make_task(f"task{place}")) for place in tasks}
    return [own[place] for place in tasks]


def make_job(*tasks: int, priority: int = 2) -> Job:
    return Job(random_images(1), indices(*[0] * len(tasks)), named(*tasks), LOOP.create_future(), 0.0, priority)


def push(queue: FairQueue, *jobs: Job) -> None:
    for job in jobs:
        queue.push(job)


def taken(queue: FairQueue, space: int) -> list[tuple[Job, int, int]]:
    return [(part.job, part.start, part.stop) for part in queue.take(space)]


def test_of_one_task_the_first_to_come_is_the_first_to_go() -> None:
    queue, first, second = FairQueue(), make_job(0, 0, 0), make_job(0, 0)
    push(queue, first, second)
    assert taken(queue, 2) == [(first, 0, 2)]
    assert taken(queue, 2) == [(first, 2, 3), (second, 0, 1)]
    assert taken(queue, 9) == [(second, 1, 2)]
    assert not queue
    assert queue.take(9) == []


def test_tasks_share_a_batch_row_by_row() -> None:
    queue, noisy, quiet = FairQueue(), make_job(*[0] * 64), make_job(*[1] * 3)
    push(queue, noisy, quiet)
    assert taken(queue, 4) == [(noisy, 0, 2), (quiet, 0, 2)]
    assert taken(queue, 4) == [(noisy, 2, 5), (quiet, 2, 3)]


def test_a_task_that_was_away_has_no_credit() -> None:
    queue, noisy = FairQueue(), make_job(*[0] * 100)
    push(queue, noisy)
    queue.take(50)
    back = make_job(*[1] * 100)
    push(queue, back)
    counts = Counter({part.job.task[0].key: part.stop - part.start for part in queue.take(20)})
    assert abs(counts[0] - counts[1]) <= 1


@pytest.mark.case("A5", "`priority` 1 beside 2 and 3", "decides within a task, never against another one")
def test_priority_decides_within_a_task_and_not_beyond_it() -> None:
    queue = FairQueue()
    low, usual, high, other = make_job(0, priority=3), make_job(0), make_job(0, priority=1), make_job(1, priority=3)
    push(queue, low, usual, high, other)
    order = [job for _ in range(4) for job, *_ in taken(queue, 1)]
    assert [job for job in order if job is not other] == [high, usual, low]
    assert order.index(other) <= 1


def test_a_request_for_several_tasks_waits_for_the_most_served_of_them() -> None:
    queue, noisy, both, quiet = FairQueue(), make_job(*[0] * 10), make_job(0, 1), make_job(1)
    push(queue, noisy)
    queue.take(4)
    push(queue, both, quiet)
    assert quiet in [job for job, *_ in taken(queue, 2)]


def test_who_has_ended_is_not_taken() -> None:
    queue, gone, kept = FairQueue(), make_job(0), make_job(0)
    push(queue, gone, kept)
    gone.future.cancel()
    assert taken(queue, 5) == [(kept, 0, 1)]
    queue.remove(gone)
    push(queue, gone)
    queue.remove(gone)
    assert (queue.jobs(), bool(queue)) == ([], False)


@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=6), max_size=8), st.integers(1, 7))
def test_every_row_is_taken_once_and_batches_are_full(requests: list[list[int]], space: int) -> None:
    queue, jobs = FairQueue(), [make_job(*tasks) for tasks in requests]
    push(queue, *jobs)
    rows = sum(map(len, requests))
    seen: list[tuple[int, int]] = []
    while queue:
        parts = queue.take(space)
        assert sum(part.stop - part.start for part in parts) == min(space, rows)
        assert [part.job.arrival for part in parts] == sorted(part.job.arrival for part in parts)
        rows -= sum(part.stop - part.start for part in parts)
        seen += [(jobs.index(part.job), row) for part in parts for row in range(part.start, part.stop)]
    assert sorted(seen) == [(place, row) for place, tasks in enumerate(requests) for row in range(len(tasks))]
