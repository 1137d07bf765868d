from __future__ import annotations

import asyncio

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.serve.batching.batch import BatchRecord, Job, Part, deliver, join
from adaptertune_deploy.serve.tasks.served_task import ServedTask
from tests.builders import make_task
from tests.serve.fakes import indices, random_images

TASKS = (ServedTask(4, make_task("pets", 3)), ServedTask(9, make_task("flowers", 5), 2))
PETS, FLOWERS = TASKS
rows = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1)), min_size=1, max_size=8)


def make_job(pairs: list[tuple[int, int]], seed: int = 0) -> Job:
    """Return a job that asks four images for (image, task) pairs, images in order."""
    ordered = sorted(pairs, key=lambda pair: pair[0])
    image, task = zip(*ordered, strict=True)
    future = asyncio.new_event_loop().create_future()
    future.get_loop().close()
    return Job(random_images(4, seed, (2, 2)), indices(*image), [TASKS[place] for place in task], future, submitted=0.0)


@given(st.lists(st.tuples(rows, st.data()), min_size=1, max_size=4))
def test_joined_rows_point_at_their_own_images(
    requests: list[tuple[list[tuple[int, int]], st.DataObject]],
) -> None:
    parts = []
    for seed, (pairs, data) in enumerate(requests):
        start = data.draw(st.integers(0, len(pairs) - 1))
        stop = data.draw(st.integers(start + 1, len(pairs)))
        parts.append(Part(make_job(pairs, seed), start, stop))
    images, image, task = join(parts)
    place = 0
    for part in parts:
        for row in range(part.start, part.stop):
            np.testing.assert_array_equal(images[image[place]], part.job.images[part.job.image[row]])
            assert task[place] == part.job.task[row].key
            place += 1
    assert place == len(image) == len(task)
    assert image.dtype == task.dtype == np.int64


def test_a_batch_of_one_part_is_not_copied() -> None:
    job = make_job([(1, 0), (2, 1)])
    images, image, _ = join([Part(job, 0, 2)])
    assert np.shares_memory(images, job.images)
    assert (len(images), image.tolist()) == (2, [0, 1])


def make_pending(loop: asyncio.AbstractEventLoop, *tasks: int) -> Job:
    asked = [TASKS[place] for place in tasks]
    return Job(random_images(1), indices(*[0] * len(tasks)), asked, loop.create_future(), 0.0)


def test_rows_go_back_to_their_requests_and_nan_stays_with_its_own() -> None:
    loop = asyncio.new_event_loop()
    good, bad, unfinished = make_pending(loop, 1, 0), make_pending(loop, 0), make_pending(loop, 0, 0)
    logits = [
        np.full(len(TASKS[task].spec.labels), value, np.float32) for task, value in ((1, 1), (0, 2), (0, 3), (0, 4))
    ]
    logits[2][1] = np.nan
    record = deliver([Part(good, 0, 2), Part(bad, 0, 1), Part(unfinished, 0, 1)], logits, 0.5)
    assert record == BatchRecord({PETS: 3, FLOWERS: 1}, images=3, seconds=0.5, nonfinite={PETS: 1})
    assert record.size == 4
    outcome = good.future.result()
    assert [row[0] for row in outcome.logits] == [1, 2]
    assert (outcome.infer_s, outcome.batch) == (0.5, record)
    with pytest.raises(EngineError, match="'pets' gave logits that are NaN"):
        bad.future.result()
    assert not unfinished.future.done()
    loop.close()


def test_a_request_ends_once() -> None:
    loop = asyncio.new_event_loop()
    job = make_pending(loop, 0)
    deliver([Part(job, 0, 1)], [np.zeros(3, np.float32)], 0.1)
    job.fail(EngineError("late"))
    job.finish()
    assert len(job.future.result().logits) == 1
    loop.close()
