from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.serve.batching.warming import Warming
from adaptertune_deploy.serve.tasks.live_tasks import LiveTasks
from adaptertune_deploy.serve.tasks.served_task import ServedTask
from tests.serve.batching.timed import Timed
from tests.serve.fakes import WAIT_S, FakeEngine, live, make_shared, served


def test_it_warms_as_many_runs_at_once_as_there_will_be() -> None:
    engine, together = FakeEngine(), threading.Barrier(3)
    compute = engine.compute

    def meet(feeds: Mapping[str, Any]) -> Any:
        if len(engine.calls) <= 3:
            together.wait(WAIT_S)  # fails unless three runs are under way
        return compute(feeds)

    engine.compute = meet
    with ThreadPoolExecutor(3) as threads:
        asyncio.run(Warming(make_shared(engine), live(0), threads).warm_up(2, times=3))
    assert len(engine.calls) == 3 * 2


def test_a_run_that_fails_is_raised_and_tasks_are_held_meanwhile() -> None:
    engine = FakeEngine(error=RuntimeError("no such device"))
    released: list[ServedTask] = []
    tasks = LiveTasks(served(0), lambda task: None, released.append)
    with ThreadPoolExecutor(1) as threads:
        warming = Warming(make_shared(engine), tasks, threads)

        async def play() -> None:
            engine.gate.clear()
            work = asyncio.ensure_future(warming.warm_up(1))
            await asyncio.to_thread(engine.wait_entered)
            tasks.withdraw("pets")
            assert released == []
            engine.gate.set()
            with pytest.raises(RuntimeError, match="no such device"):
                await work
            assert released == served(0)

        asyncio.run(play())


def test_times_are_those_of_the_first_task_or_none(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    timed = Timed(lambda rows: 0.01 * rows)
    with ThreadPoolExecutor(1) as threads:
        warming = Warming(timed.session, live(1, 2), threads)
        found = asyncio.run(warming.time_runs(2, True, timed.clock))
        assert found is not None
        assert found.seconds == pytest.approx({1: 0.01, 2: 0.02})
        assert asyncio.run(Warming(timed.session, live(), threads).time_runs(2, True, timed.clock)) is None
    warming.say(1, 2, found)
    assert (
        "batches have 1 rows at most, 2 at a time; images/s by the images of a run alone: 1: 100, 2: 100" in caplog.text
    )
    assert "warm only, since the bundle holds no answer of: flowers, digits" in caplog.text


def test_an_engines_own_error_stays_what_it_is() -> None:
    engine = FakeEngine(error=EngineError("the GPU is out of memory"))
    with ThreadPoolExecutor(2) as threads, pytest.raises(EngineError, match="out of memory"):
        asyncio.run(Warming(make_shared(engine), live(0), threads).warm_up(1, times=2))
