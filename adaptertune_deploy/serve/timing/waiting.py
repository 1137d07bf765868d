"""Waiting for work for so long and no longer, without losing a cancellation."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine, Sequence
from typing import Any, TypeVar

Result = TypeVar("Result")


async def within(work: Awaitable[Result], seconds: float | None) -> Result:
    """Await work, which is cancelled when the time is up.

    asyncio.wait_for before Python 3.12 returns the result where it is cancelled in the moment in which the work ends:
    the request of a client that left then would be answered all the same.

    Args:
        work: to be done.
        seconds: that it may take; None for any time. Without any left it is not even begun.

    Raises:
        asyncio.TimeoutError: the time was up.
    """
    if seconds is None:
        return await work
    task = asyncio.ensure_future(work)
    try:
        if seconds > 0:
            await asyncio.wait([task], timeout=seconds)
        if task.done():
            return task.result()
    finally:
        await end(task)
    raise asyncio.TimeoutError


async def all_of(works: Sequence[Coroutine[Any, Any, Result]]) -> list[Result]:
    """Do several works at once and return what each returns; the first error, or a cancellation, ends all."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
        return [task.result() for task in tasks]
    finally:
        for task in tasks:
            await end(task)


async def end(task: asyncio.Future[Any]) -> None:
    """Cancel work unless it has ended, and let nobody miss its error."""
    if not task.done():
        task.cancel()
        await asyncio.wait([task])
    if not task.cancelled():
        task.exception()
