from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptertune_deploy.serve.batching.batch import Job
from adaptertune_deploy.serve.batching.fair_queue import AROUND_S, Alongside, FairQueue
from adaptertune_deploy.serve.batching.run_times import RunTimes
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


def every_row_costs(images: int, most: int) -> int:
    """See fair_queue.Alongside: a CPU, on which a run of two rows takes twice as long as a run of one."""
    return min(images, most)


def rows_of(
    queue: FairQueue, space: int, alongside: Alongside = every_row_costs, beside: bool = False
) -> dict[str, int]:
    """Take a batch; return its rows by task."""
    parts = queue.take(space, alongside=alongside, beside=beside)
    return dict(Counter(task.name for part in parts for task in part.task))


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


@pytest.mark.case(
    "A5", "one task has many rows waiting, another comes by now and then", "their runs are short meanwhile"
)
def test_while_a_modest_task_is_around_another_one_gets_no_long_runs() -> None:
    now = [0.0]
    queue = FairQueue(lambda: now[0])
    push(queue, make_job(*[0] * 100))
    assert rows_of(queue, 8) == {"task0": 8}
    push(queue, make_job(1))
    assert rows_of(queue, 8) == {"task1": 1}
    for _ in range(5):
        assert rows_of(queue, 8) == {"task0": 1}
    push(queue, make_job(1, 1, 1))
    assert rows_of(queue, 8) == {"task1": 3}
    now[0] += AROUND_S + 0.1
    assert rows_of(queue, 8) == {"task0": 8}


def test_a_flood_that_waits_for_its_images_is_a_flood_still() -> None:
    queue = FairQueue(accepted=lambda: {"task0": 64, "task1": 1})
    push(queue, make_job(0, 0), make_job(1))
    assert rows_of(queue, 8, beside=True) == {"task1": 1}
    assert rows_of(queue, 8, beside=True) == {}
    assert rows_of(queue, 8) == {"task0": 1}


def test_a_run_is_filled_where_that_makes_it_hardly_longer() -> None:
    """A GPU, on which a run of four rows takes as long as a run of one."""

    def four(images: int, most: int) -> int:
        return min(most, max(4, images))

    queue = FairQueue()
    push(queue, make_job(*[0] * 100), make_job(1))
    assert rows_of(queue, 8, four) == {"task0": 3, "task1": 1}
    assert rows_of(queue, 8, four) == {"task0": 4}
    push(queue, *(make_job(place) for place in range(1, 7)))
    assert rows_of(queue, 8, four) == {f"task{place}": 1 for place in range(1, 7)}


def simulated(times: RunTimes, loud: bool, seconds: float) -> tuple[float, float]:
    """Return a quiet task's p99, and rows a second of a loud one that always has 64 waiting.

    The quiet one asks about an image now and then, at moments that have nothing to do with the runs.
    """
    now, spent, rows = [0.0], [], 0
    queue, random = FairQueue(lambda: now[0]), np.random.default_rng(0)
    coming = np.cumsum(random.uniform(2, 20, 1000) * times.of(1))
    arrivals = iter(coming[coming < seconds].tolist())
    next_one = next(arrivals)
    while now[0] < seconds:
        while next_one <= now[0]:
            job = make_job(1)
            job.submitted, next_one = next_one, next(arrivals, math.inf)
            push(queue, job)
        while loud and sum(len(job.task) - job.taken for job in queue.jobs() if job.task[0].key == 0) < 64:
            push(queue, make_job(*[0] * 8))
        parts = queue.take(8, alongside=times.alongside)
        if not parts:
            now[0] = min(next_one, seconds)
            continue
        now[0] += times.of(sum(part.stop - part.start for part in parts))
        spent += [now[0] - part.job.submitted for part in parts if part.job.task[0].key == 1]
        rows += sum(part.stop - part.start for part in parts if part.job.task[0].key == 0)
    return sorted(spent)[math.ceil(0.99 * len(spent)) - 1] if spent else 0.0, rows / seconds


@pytest.mark.case(
    "A5", "64 rows of one task always wait, batches of 8 on a CPU or a GPU", "p99 of another at most doubled"
)
@pytest.mark.parametrize(
    ("times", "kept"),
    [
        (RunTimes({1: 0.018, 2: 0.036, 8: 0.144}), 0.8),  # a CPU, whose rows cost the same in any batch
        (RunTimes({1: 0.010, 2: 0.015, 8: 0.045}), 0.45),  # one that gains by batches what the other's rows now cost
        (RunTimes({1: 0.002, 8: 0.002}), 0.8),  # a GPU, for which one row is as much as eight
    ],
)
def test_a_noisy_task_does_not_double_the_p99_of_another(times: RunTimes, kept: float) -> None:
    """What it may cost the noisy one is what the quiet one's runs take, and larger batches would bring."""
    alone, _ = simulated(times, loud=False, seconds=600 * times.of(1))
    beside, rows = simulated(times, loud=True, seconds=1500 * times.of(1))
    assert alone == pytest.approx(times.of(1))
    assert beside <= 2 * alone
    assert rows >= kept * 8 / times.of(8)


def test_modest_tasks_ride_together_as_many_as_there_are() -> None:
    queue = FairQueue()
    push(queue, make_job(*[0] * 100), *(make_job(place) for place in range(1, 10)))
    assert rows_of(queue, 8) == {"task0": 1, **{f"task{place}": 1 for place in range(1, 8)}}
    assert rows_of(queue, 8) == {"task8": 1, "task9": 1}


def test_where_every_task_has_many_rows_runs_are_as_large_as_they_may_be() -> None:
    queue = FairQueue()
    push(queue, make_job(*[0] * 100), make_job(*[1] * 60))
    assert rows_of(queue, 8) == {"task0": 4, "task1": 4}


def test_a_task_with_many_rows_gets_its_share_of_runs_though_others_come_all_the_time() -> None:
    queue, runs = FairQueue(), Counter[str]()
    push(queue, make_job(*[0] * 100))
    for _ in range(50):
        push(queue, make_job(1))
        runs.update(rows_of(queue, 1))
    assert abs(runs["task0"] - runs["task1"]) <= 1


def test_beside_a_run_there_is_only_a_full_batch() -> None:
    """Another run slows down the one that goes on, so it has to be worth it."""
    queue = FairQueue()
    push(queue, make_job(0), make_job(1, 1))
    assert queue.take(4, beside=True) == []
    push(queue, make_job(0))
    assert rows_of(queue, 4, beside=True) == {"task0": 2, "task1": 2}
    assert queue.take(1, beside=True) == []


def test_where_a_task_has_many_rows_others_begin_beside_a_run_at_once() -> None:
    queue = FairQueue()
    push(queue, make_job(*[0] * 100))
    assert rows_of(queue, 4, beside=True) == {"task0": 4}
    push(queue, make_job(1))
    assert rows_of(queue, 4, beside=True) == {"task1": 1}
    assert rows_of(queue, 4, beside=True) == {}  # a flood has one run at a time while others are around
    assert rows_of(queue, 4) == {"task0": 1}


def test_beside_a_run_tasks_with_some_rows_are_no_flood() -> None:
    queue = FairQueue()
    push(queue, make_job(*[0] * 5), make_job(1))
    assert rows_of(queue, 1, beside=True) == {"task0": 1}
    assert rows_of(queue, 1, beside=True) == {"task1": 1}
    assert rows_of(queue, 1, beside=True) == {"task0": 1}


def test_rows_about_an_image_ride_together_beyond_the_batch() -> None:
    """It runs once for all of them: parted, each of them would run it again."""
    queue = FairQueue()
    both = Job(random_images(2), indices(0, 0, 0, 1, 1, 1), named(0, 1, 2, 0, 1, 2), LOOP.create_future(), 0.0)
    push(queue, both, make_job(3))
    for expected in ([(both, 0, 3)], [(make_job, 0, 1)], [(both, 3, 6)]):
        found = [(part.job, part.start, part.stop) for part in queue.take(1, most=8)]
        assert [entry[1:] for entry in found] == [entry[1:] for entry in expected]
    push(queue, Job(random_images(1), indices(*[0] * 6), named(*range(6)), LOOP.create_future(), 0.0))
    assert [part.stop - part.start for part in queue.take(1, most=4)] == [4]
    assert [part.stop - part.start for part in queue.take(1, most=4)] == [2]
    assert not queue


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
