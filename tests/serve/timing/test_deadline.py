from __future__ import annotations

import asyncio
import math
from time import monotonic

import pytest

from adaptertune_deploy.core.errors import RequestError
from adaptertune_deploy.serve.timing.deadline import Deadline
from tests.serve.fakes import WAIT_S


def test_the_sooner_of_two_deadlines_counts() -> None:
    deadline = Deadline(100.0)
    assert deadline.sooner(10.0, None) == deadline
    assert deadline.sooner(10.0, 5.0) == Deadline(15.0)
    assert deadline.sooner(98.0, 5.0) == deadline
    assert Deadline().sooner(1.0, 2.0) == Deadline(3.0)


def test_work_is_cancelled_at_the_deadline() -> None:
    cancelled = []

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    async def play() -> None:
        deadline = Deadline(monotonic() + 0.01)
        with pytest.raises(RequestError, match="the deadline passed while it was tested") as caught:
            await deadline.within(forever(), "it was tested")
        assert caught.value.status == 504
        assert monotonic() >= deadline.at
        with pytest.raises(RequestError):
            await deadline.within(forever(), "it was tested")

    asyncio.run(asyncio.wait_for(play(), WAIT_S))
    assert cancelled == [True]


def test_a_future_ends_at_the_deadline() -> None:
    async def play() -> None:
        for seconds in (0.01, -1.0):
            future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            with (
                pytest.raises(RequestError, match="the deadline passed while it was tested") as caught,
                Deadline(monotonic() + seconds).ending(future, "it was tested"),
            ):
                await future
            assert caught.value.status == 504

    asyncio.run(asyncio.wait_for(play(), WAIT_S))


def test_a_future_that_has_ended_or_that_nobody_awaits_is_left_alone() -> None:
    async def play() -> None:
        ended, left, endless = (asyncio.get_running_loop().create_future() for _ in range(3))
        with Deadline(monotonic()).ending(ended, ""):
            ended.set_result(7)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        with Deadline(monotonic()).ending(left, ""):
            pass
        with Deadline().ending(endless, ""):
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert await ended == 7
        assert not left.done()
        assert not endless.done()

    asyncio.run(asyncio.wait_for(play(), WAIT_S))


def test_work_in_time_is_left_alone() -> None:
    async def work() -> int:
        return 7

    assert asyncio.run(Deadline().within(work(), "")) == 7
    assert asyncio.run(Deadline(monotonic() + 100).within(work(), "")) == 7


def test_a_passed_deadline_can_be_asked_for() -> None:
    assert not Deadline(math.inf).passed()
    Deadline().check("x")
    with pytest.raises(RequestError, match="while x"):
        Deadline(monotonic()).check("x")
