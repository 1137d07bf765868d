from __future__ import annotations

import asyncio
import itertools
import math
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from time import monotonic
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.core.errors import EngineError, RequestError
from adaptertune_deploy.engines.limits import Limits
from adaptertune_deploy.serve.batching import batcher
from adaptertune_deploy.serve.batching.batch import BatchRecord, Outcome
from adaptertune_deploy.serve.batching.batcher import Batcher
from adaptertune_deploy.serve.batching.engine_health import FAILURES
from adaptertune_deploy.serve.settings import Settings
from adaptertune_deploy.serve.timing.deadline import Deadline
from tests.serve.batching.timed import Timed
from tests.serve.fakes import (
    WAIT_S,
    FakeEngine,
    asked,
    indices,
    live,
    make_adapters,
    make_shared,
    random_images,
    reference,
    served,
)

MAX_BATCH = 4
Future = asyncio.Future[Outcome]


class Bench:
    """A warm batcher over a fake engine, with the batches it reported."""

    def __init__(self, max_batch: int = MAX_BATCH, queue_limit: int = 100, instances: int | None = 1) -> None:
        self.engine = FakeEngine(limits=Limits(at_once=2))
        self.batches: list[BatchRecord] = []
        settings = Settings(
            max_batch=max_batch, instances=instances, queue_limit=queue_limit, task_queue_limit=queue_limit
        )
        # Every run takes as long, and two at the same time do: none is made longer by more rows or by another run.
        always = itertools.count().__next__
        self.batcher = Batcher(make_shared(self.engine), live(0, 1, 2), settings, self.batches.append, always)

    def submit(self, *tasks: int, seed: int = 0, deadline: float = math.inf) -> Future:
        """Ask one random image for these tasks."""
        return self.batcher.submit(
            random_images(1, seed), indices(*[0] * len(tasks)), served(*tasks), Deadline(deadline)
        )

    async def entered(self) -> None:
        await asyncio.to_thread(self.engine.wait_entered)

    async def hold(self) -> Future:
        """Occupy the engine with a request of task 0 until `gate` is set."""
        self.engine.gate.clear()
        future = self.submit(0, seed=99)
        await self.entered()
        return future


def scenario(
    body: Callable[[Bench], Awaitable[None]],
    max_batch: int = MAX_BATCH,
    queue_limit: int = 100,
    instances: int | None = 1,
) -> Coroutine[Any, Any, None]:
    async def play() -> None:
        bench = Bench(max_batch, queue_limit, instances)
        bench.batcher.start()
        while not bench.batcher.warm:
            await asyncio.sleep(0)
        bench.engine.forget()
        try:
            await asyncio.wait_for(body(bench), WAIT_S)
        finally:
            bench.engine.gate.set()
            await bench.batcher.drain()

    return play()


def check(outcome: Outcome, seed: int, *tasks: int) -> None:
    image = random_images(1, seed)[0]
    assert len(outcome.logits) == len(tasks)
    for logits, task in zip(outcome.logits, tasks, strict=True):
        np.testing.assert_allclose(logits, reference(image, make_adapters()[task]), rtol=1e-4, atol=1e-5)


def test_requests_of_different_tasks_that_wait_ride_in_one_run() -> None:
    async def body(bench: Bench) -> None:
        first = await bench.hold()
        waiting = [bench.submit(task, seed=task) for task in (0, 1, 2)]
        bench.engine.gate.set()
        outcomes = await asyncio.gather(first, *waiting)
        assert len(bench.engine.calls) == 2
        assert asked(bench.engine.calls[1]) == [0, 1, 2]
        for task in (0, 1, 2):
            check(outcomes[task + 1], task, task)
            assert outcomes[task + 1].batch.size == 3
            assert dict(outcomes[task + 1].batch.rows) == dict.fromkeys(served(0, 1, 2), 1)
        check(outcomes[0], 99, 0)
        assert bench.batches == [outcomes[0].batch, outcomes[1].batch]

    asyncio.run(scenario(body))


def test_an_image_asked_for_several_tasks_is_one_image() -> None:
    async def body(bench: Bench) -> None:
        held = await bench.hold()
        waiting = [bench.submit(2, 0), bench.submit(1, seed=1)]
        bench.engine.gate.set()
        await asyncio.gather(held, *waiting)
        call = bench.engine.calls[1]
        assert call[bank.IMAGES].shape[0] == 2
        assert call[bank.IMAGE].tolist() == [0, 0, 1]
        assert asked(call) == [2, 0, 1]
        assert waiting[0].result().batch.images == 2

    asyncio.run(scenario(body))


def test_a_lone_request_runs_at_once_without_a_copy() -> None:
    async def body(bench: Bench) -> None:
        images = random_images(1)
        outcome = await bench.batcher.submit(images, indices(0), served(1))
        check(outcome, 0, 1)
        assert np.shares_memory(bench.engine.calls[0][bank.IMAGES], images)
        assert min(outcome.infer_s, outcome.queue_s) >= 0

    asyncio.run(scenario(body))


def test_a_request_larger_than_a_batch_is_split_and_put_together_again() -> None:
    async def body(bench: Bench) -> None:
        images = random_images(3)
        image, task = np.repeat(np.arange(3), 3), np.tile(np.arange(3), 3)
        outcome = await bench.batcher.submit(images, image, served(*task))
        assert [len(call[bank.TASK]) for call in bench.engine.calls] == [4, 4, 1]
        assert [len(call[bank.IMAGES]) for call in bench.engine.calls] == [2, 2, 1]
        for row, logits in enumerate(outcome.logits):
            expected = reference(images[image[row]], make_adapters()[task[row]])
            np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
        assert outcome.batch.size == 4
        assert outcome.infer_s == pytest.approx(sum(batch.seconds for batch in bench.batches))

    asyncio.run(scenario(body))


requests = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=7), min_size=1, max_size=8)


@hypothesis_settings(max_examples=25)
@given(requests, st.integers(1, 6))
def test_whatever_waits_every_request_gets_its_own_rows(waiting: list[list[int]], max_batch: int) -> None:
    async def body(bench: Bench) -> None:
        held = await bench.hold()
        futures = [bench.submit(*tasks, seed=seed) for seed, tasks in enumerate(waiting)]
        bench.engine.gate.set()
        await held
        for seed, (future, tasks) in enumerate(zip(futures, waiting, strict=True)):
            check(await future, seed, *tasks)
        rows = sum(map(len, waiting))
        assert len(bench.engine.calls) == 1 + -(-rows // max_batch)

    asyncio.run(scenario(body, max_batch))


def test_a_passed_deadline_is_answered_while_the_engine_is_busy_and_never_runs() -> None:
    async def body(bench: Bench) -> None:
        held = await bench.hold()
        late = bench.submit(1, deadline=monotonic() + 0.01)
        with pytest.raises(RequestError, match="Request timeout expired") as caught:
            await late
        assert caught.value.status == 504
        assert not held.done()
        bench.engine.gate.set()
        await held
        await bench.submit(2)
        assert [asked(call) for call in bench.engine.calls] == [[0], [2]]

    asyncio.run(scenario(body))


def test_a_deadline_does_not_touch_a_request_that_already_runs() -> None:
    async def body(bench: Bench) -> None:
        bench.engine.gate.clear()
        begins = monotonic()
        running = bench.submit(1, deadline=begins + 0.3)  # it has begun by then on any machine
        await bench.entered()
        late = bench.submit(1, deadline=begins + 0.31)
        with pytest.raises(RequestError):
            await late
        bench.engine.gate.set()
        check(await running, 0, 1)

    asyncio.run(scenario(body))


@pytest.mark.case("A2", "a deadline between the parts of a split request", "504, the rest never runs")
def test_a_deadline_passes_between_the_parts_of_a_split_request() -> None:
    async def body(bench: Bench) -> None:
        bench.engine.gate.clear()
        split = bench.submit(*[0, 1, 2] * 3, deadline=monotonic() + 0.3)  # it has begun by then on any machine
        await bench.entered()
        with pytest.raises(RequestError, match="deadline passed while the request waited for the engine") as caught:
            await split
        assert caught.value.status == 504
        bench.engine.gate.set()
        check(await bench.submit(2), 0, 2)
        assert [asked(call) for call in bench.engine.calls] == [[0, 1, 2], [2]]  # of four rows two ask the same

    asyncio.run(scenario(body))


@pytest.mark.case("A3", "a request is given up before its batch begins", "its rows never run")
def test_a_cancelled_request_is_out_of_the_queue_before_it_is_batched() -> None:
    async def body(bench: Bench) -> None:
        held = await bench.hold()
        gone, kept = bench.submit(1), bench.submit(2)
        gone.cancel()
        await asyncio.sleep(0)
        bench.engine.gate.set()
        await asyncio.gather(held, kept)
        assert [asked(call) for call in bench.engine.calls] == [[0], [2]]

    asyncio.run(scenario(body))


@pytest.mark.case("A4", "a request is given up while its batch runs", "the other rows are answered")
def test_cancelling_a_running_request_leaves_its_batch_alone() -> None:
    async def body(bench: Bench) -> None:
        bench.engine.gate.clear()
        gone, kept = bench.submit(1), bench.submit(2, seed=5)
        await bench.entered()
        gone.cancel()
        bench.engine.gate.set()
        check(await kept, 5, 2)
        assert [asked(call) for call in bench.engine.calls] == [[1, 2]]

    asyncio.run(scenario(body))


@pytest.mark.case("B13", "an engine that fails one batch", "500 for that batch, the next one answered")
def test_an_engine_failure_fails_its_batch_only(caplog: pytest.LogCaptureFixture) -> None:
    async def body(bench: Bench) -> None:
        bench.engine.error = RuntimeError("CUDA failure at 0x7f00, /opt/secret")
        results = await asyncio.gather(bench.submit(0), bench.submit(1), return_exceptions=True)
        for error in results:
            assert isinstance(error, EngineError)
            assert str(error) == "the engine failed on the batch of this request; send it again"
        bench.engine.error = None
        check(await bench.submit(2), 0, 2)
        assert len(bench.batches) == 1

    asyncio.run(scenario(body))
    assert "CUDA failure" in caplog.text


def test_a_failure_in_the_middle_of_a_split_request_ends_it() -> None:
    async def body(bench: Bench) -> None:
        bench.engine.gate.clear()
        future = bench.submit(*[0, 1, 2] * 3)
        await bench.entered()
        bench.engine.error = RuntimeError("no")
        bench.engine.gate.set()
        with pytest.raises(EngineError):
            await future
        bench.engine.error = None
        await bench.submit(1)
        assert [asked(call) for call in bench.engine.calls] == [[0, 1, 2], [1]]

    asyncio.run(scenario(body))


@pytest.mark.case("B13", "NaN in one row of a mixed batch", "fails its own request only")
def test_nan_fails_the_request_it_belongs_to_and_is_reported() -> None:
    async def body(bench: Bench) -> None:
        bench.engine.poison = frozenset({1})
        held = await bench.hold()
        bad, good = bench.submit(0, 1), bench.submit(2, seed=3)
        bench.engine.gate.set()
        await held
        check(await good, 3, 2)
        with pytest.raises(EngineError, match="'flowers' gave logits that are NaN or infinite"):
            await bad
        assert dict(bench.batches[1].nonfinite) == {served(1)[0]: 1}

    asyncio.run(scenario(body))


def test_the_queue_is_bounded_in_rows() -> None:
    async def body(bench: Bench) -> None:
        with bench.batcher.admit({"pets": 7}):
            bench.batcher.check_room({"pets": 3})
            with pytest.raises(RequestError, match="Exceeds maximum queue size: 7 rows wait, at most 10") as caught:
                bench.batcher.check_room({"flowers": 4})
            assert caught.value.status == 503
            assert bench.batcher.admitted == 7
        bench.batcher.check_room({"pets": 10})

    asyncio.run(scenario(body, queue_limit=10))


def test_drain_answers_what_was_accepted_and_takes_nothing_new() -> None:
    async def body(bench: Bench) -> None:
        held = await bench.hold()
        waiting = [bench.submit(1) for _ in range(6)]
        drained = asyncio.ensure_future(bench.batcher.drain())
        await asyncio.sleep(0)
        with pytest.raises(RequestError, match="shutting down"), bench.batcher.admit({"pets": 1}):
            pass
        assert not drained.done()
        bench.engine.gate.set()
        await drained
        assert held.done()
        for future in waiting:
            check(future.result(), 0, 1)

    asyncio.run(scenario(body))


def test_drain_waits_for_a_request_that_is_accepted_but_not_yet_queued() -> None:
    async def body(bench: Bench) -> None:
        with bench.batcher.admit({"pets": 1}):
            drained = asyncio.ensure_future(bench.batcher.drain())
            await asyncio.sleep(0)
            check(await bench.submit(1), 0, 1)
            assert not drained.done()
        await drained

    asyncio.run(scenario(body))


@pytest.mark.case("A5", "one task floods the queue", "another waits for one run only")
def test_a_task_that_floods_the_queue_delays_another_by_one_run_only() -> None:
    """Eight requests of 12 rows of one task wait; a row of another task comes last and rides in the next run."""

    async def body(bench: Bench) -> None:
        held = await bench.hold()
        noisy = [bench.batcher.submit(random_images(12), np.arange(12), served(*[0] * 12)) for _ in range(8)]
        quiet = bench.submit(1, seed=7)
        bench.engine.gate.set()
        check(await quiet, 7, 1)
        assert 1 in asked(bench.engine.calls[1])
        await asyncio.gather(held, *noisy)
        assert len(bench.engine.calls) == 1 + -(-(8 * 12 + 1) // MAX_BATCH)

    asyncio.run(scenario(body))


@pytest.mark.case("B13", "an engine that fails run after run", "not ready, until a trial succeeds")
def test_an_engine_that_fails_again_and_again_is_tried_until_it_works(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batcher, "PROBE_S", 0.001)

    async def body(bench: Bench) -> None:
        bench.engine.error = RuntimeError("no such device")
        for count in range(FAILURES):
            assert bench.batcher.health.problem is None, count
            with pytest.raises(EngineError):
                await bench.submit(0)
        while bench.batcher.health.problem is None:
            await asyncio.sleep(0)
        runs = len(bench.engine.calls)
        while len(bench.engine.calls) < runs + 2:
            await asyncio.sleep(0)
        assert "in a row" in str(bench.batcher.health.problem)
        bench.engine.error = None
        while bench.batcher.health.problem is not None:
            await asyncio.sleep(0)
        check(await bench.submit(1), 0, 1)

    asyncio.run(scenario(body))


def test_what_is_abandoned_is_answered_though_the_engine_hangs() -> None:
    async def body(bench: Bench) -> None:
        held = await bench.hold()
        waiting = bench.submit(1)
        bench.batcher.abandon()
        late = bench.submit(2)
        for future in (held, waiting, late):
            with pytest.raises(RequestError, match="could not answer in time") as caught:
                await future
            assert caught.value.status == 503
        await bench.batcher.drain()
        assert len(bench.engine.calls) == 1

    asyncio.run(scenario(body))


def test_a_failed_warm_up_fails_what_waits_and_refuses_the_rest(caplog: pytest.LogCaptureFixture) -> None:
    async def play() -> None:
        bench = Bench()
        bench.engine.gate.clear()
        bench.engine.error = RuntimeError("no such device")
        bench.batcher.start()
        await bench.entered()
        waiting = bench.submit(0)
        bench.engine.gate.set()
        with pytest.raises(RequestError, match="failed its first run") as caught:
            await waiting
        assert caught.value.status == 503
        assert isinstance(bench.batcher.failure, RuntimeError)
        assert not bench.batcher.warm
        with pytest.raises(RequestError, match="failed its first run"):
            bench.batcher.check_room({"pets": 1})
        await bench.batcher.drain()

    asyncio.run(asyncio.wait_for(play(), WAIT_S))
    assert "no such device" in caplog.text


async def warm(timed: Timed, settings: Settings, *tasks: int) -> Batcher:
    """Return a batcher that has warmed up and ended."""
    made = Batcher(timed.session, live(*tasks), settings, lambda batch: None, timed.clock)
    made.start()
    while not made.warm:
        await asyncio.sleep(0)
    await made.drain()
    return made


def test_where_nobody_says_how_large_batches_are_the_warm_up_finds_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    cpu = asyncio.run(warm(Timed(lambda rows: 0.02 * rows), Settings(), 0, 1))
    assert (cpu.rows, cpu.most) == (1, 8)
    assert (
        "batches have 1 rows at most, 1 at a time; images/s by the images of a run alone: 1: 50, 2: 50" in caplog.text
    )
    gpu = asyncio.run(warm(Timed(lambda rows: 0.002), Settings(), 0))
    assert gpu.rows == 8


def test_runs_share_an_engines_threads_only_where_that_pays_and_nobody_said_how_many() -> None:
    gpu = Timed(lambda rows: 0.02, Limits(at_once=2))  # eight images take as long as one, one run after another
    found = asyncio.run(warm(gpu, Settings(), 0))
    assert (found.rows, found.instances) == (8, 1)
    for typed in (1, 2):
        asked_for = asyncio.run(warm(gpu, Settings(instances=typed), 0))
        assert asked_for.instances == typed


def test_found_runs_go_on_together_with_full_batches_and_a_lone_request_waits_for_none() -> None:
    """Two instances were found; a second run begins only when a batch is full."""

    async def body(bench: Bench) -> None:
        bench.engine.gate.clear()
        first = bench.submit(0, seed=1)
        await bench.entered()
        second = bench.submit(1, seed=2)
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(bench.engine.calls) == 1
        more = [bench.submit(2, seed=seed) for seed in (3, 4, 5)]
        await bench.entered()
        assert len(bench.engine.calls[1][bank.TASK]) == 4
        bench.engine.gate.set()
        for seed, (future, task) in enumerate(zip((first, second, *more), (0, 1, 2, 2, 2), strict=True), 1):
            check(await future, seed, task)
        assert {batch.instance for batch in bench.batches} == {0, 1}

    asyncio.run(scenario(body, instances=None))


def test_what_the_start_took_for_a_moment_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[bool] = []
    made = Batcher(Timed(lambda rows: 0.02).session, live(0), Settings(), lambda batch: None)
    monkeypatch.setattr(batcher.heap, "give_back", lambda: given.append(made.warm))

    async def play() -> None:
        made.start()
        while not made.warm:
            await asyncio.sleep(0)
        await made.drain()

    asyncio.run(play())
    assert given == [False]


def test_what_was_asked_for_stays(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    asked_for = asyncio.run(warm(Timed(lambda rows: 0.02 * rows), Settings(max_batch=6), 0))
    assert (asked_for.rows, asked_for.most) == (6, 6)
    assert asked_for.times is not None  # what a noisy task may add to a run depends on it
    assert "batches have" not in caplog.text
    without_tasks = asyncio.run(warm(Timed(lambda rows: 0.02), Settings()))
    assert (without_tasks.rows, without_tasks.times) == (8, None)


def test_several_instances_run_at_the_same_time_and_the_next_batch_waits() -> None:
    async def body(bench: Bench) -> None:
        first, second = await bench.hold(), await bench.hold()
        waiting = bench.submit(2)
        assert len(bench.engine.calls) == 2
        bench.engine.gate.set()
        for task, future in ((0, first), (0, second)):
            check(await future, 99, task)
        check(await waiting, 0, 2)
        assert {batch.instance for batch in bench.batches} == {0, 1}

    asyncio.run(scenario(body, instances=2))


def test_parts_of_a_request_that_run_at_the_same_time_are_put_together_in_order() -> None:
    """The second one of two ends first."""

    async def body(bench: Bench) -> None:
        compute, late = bench.engine.compute, threading.Event()

        def first_waits(feeds: Mapping[str, Any]) -> Any:
            if len(feeds[bank.TASK]) == 4:
                assert late.wait(WAIT_S)
            return compute(feeds)

        bench.engine.compute = first_waits
        images = random_images(7)
        future = bench.batcher.submit(images, np.arange(7), served(0, 1, 2, 0, 1, 2, 0))
        while not bench.batches:
            await asyncio.sleep(0)
        assert (bench.batches[0].size, future.done()) == (3, False)
        late.set()
        outcome = await future
        for row, (logits, task) in enumerate(zip(outcome.logits, (0, 1, 2, 0, 1, 2, 0), strict=True)):
            expected = reference(images[row], make_adapters()[task])
            np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)

    asyncio.run(scenario(body, instances=2))


def test_what_several_instances_run_is_drained_and_given_up() -> None:
    async def body(bench: Bench) -> None:
        running = [await bench.hold(), await bench.hold()]
        drained = asyncio.ensure_future(bench.batcher.drain())
        await asyncio.sleep(0)
        assert not drained.done()
        bench.batcher.abandon()
        for future in running:
            with pytest.raises(RequestError, match="shutting down"):
                await future
        await drained

    asyncio.run(scenario(body, instances=2))


@hypothesis_settings(max_examples=15)
@given(requests, st.integers(1, 6), st.integers(2, 3))
def test_however_many_instances_every_request_gets_its_own_rows(
    waiting: list[list[int]], max_batch: int, instances: int
) -> None:
    async def body(bench: Bench) -> None:
        futures = [bench.submit(*tasks, seed=seed) for seed, tasks in enumerate(waiting)]
        for seed, (future, tasks) in enumerate(zip(futures, waiting, strict=True)):
            check(await future, seed, *tasks)

    asyncio.run(scenario(body, max_batch, instances=instances))
