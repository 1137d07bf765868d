from __future__ import annotations

import asyncio

import pytest

from adaptertune_deploy.serve.timing.waiting import all_of, end, within
from tests.serve.fakes import WAIT_S


def test_work_gives_its_result_or_its_error() -> None:
    async def fine() -> int:
        return 7

    async def bad() -> int:
        raise ValueError("no")

    async def play() -> None:
        for seconds in (None, WAIT_S):
            assert await within(fine(), seconds) == 7
            with pytest.raises(ValueError, match="no"):
                await within(bad(), seconds)

    asyncio.run(play())


@pytest.mark.parametrize("seconds", [0.001, 0, -1.0])
def test_what_takes_too_long_is_cancelled(seconds: float) -> None:
    async def play() -> bool:
        forever = asyncio.get_running_loop().create_future()
        with pytest.raises(asyncio.TimeoutError):
            await within(forever, seconds)
        return forever.cancelled()

    assert asyncio.run(play())


@pytest.mark.case("A3", "a client leaves in the moment in which a part of the work ends", "noticed all the same")
@pytest.mark.parametrize("turns", range(6))
def test_no_cancellation_is_lost(turns: int) -> None:
    """Whatever number of the loop's turns lies between the end of the work and the cancellation."""

    async def play() -> bool:
        work = asyncio.get_running_loop().create_future()

        async def whole() -> int:
            await within(within(work, WAIT_S), WAIT_S)
            await asyncio.get_running_loop().create_future()
            raise AssertionError("nobody ends this")

        task = asyncio.ensure_future(whole())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        work.set_result(7)
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task], timeout=WAIT_S)
        return task.cancelled()

    assert asyncio.run(play())


def test_an_error_that_nobody_waits_for_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def play() -> None:
        failed, forever = (asyncio.get_running_loop().create_future() for _ in range(2))
        failed.set_exception(ValueError("no"))
        await end(failed)
        await end(forever)
        assert forever.cancelled()

    asyncio.run(play())
    assert caplog.text == ""


def test_several_works_end_together_and_the_first_error_ends_all() -> None:
    async def body() -> None:
        ended: list[str] = []

        async def wait() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append("waited")

        async def give(value: int) -> int:
            await asyncio.sleep(0)
            return value

        async def fail() -> None:
            raise ValueError("first")

        assert await all_of([give(1), give(2)]) == [1, 2]
        with pytest.raises(ValueError, match="first"):
            await all_of([wait(), fail()])
        gone = asyncio.ensure_future(all_of([wait(), wait()]))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.wait([gone])
        assert gone.cancelled()
        assert ended == ["waited"] * 3

    asyncio.run(body())
