"""When a request is too late: one moment, counted from its first byte, that holds in every stage."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Iterator
from dataclasses import dataclass
from time import monotonic
from typing import Any, TypeVar

from adaptertune_deploy.core.errors import RequestError
from adaptertune_deploy.serve.timing.waiting import within

Result = TypeVar("Result")


@dataclass(frozen=True)
class Deadline:
    """A moment after which nobody waits for the answer any more.

    at: a time.monotonic() value; infinity for never.
    """

    at: float = math.inf

    def sooner(self, arrived: float, seconds: float | None) -> Deadline:
        """Return this deadline, or the one that is so many seconds after `arrived` where that comes first."""
        return self if seconds is None else Deadline(min(self.at, arrived + seconds))

    def passed(self) -> bool:
        """Whether it is too late."""
        return monotonic() >= self.at

    def check(self, doing: str) -> None:
        """Raise RequestError (504) when it is too late; `doing` says what was going on."""
        if self.passed():
            raise expired(doing)

    @contextlib.contextmanager
    def ending(self, future: asyncio.Future[Any], doing: str) -> Iterator[None]:
        """End a future with RequestError (504) at this moment, if it comes within a `with` block.

        Where nothing but a future is awaited this takes no task of its own, as `within` does.
        """
        if math.isinf(self.at):
            yield
            return
        loop = asyncio.get_running_loop()
        timer = loop.call_later(max(0.0, self.at - monotonic()), _end, future, doing)
        try:
            yield
        finally:
            timer.cancel()

    async def within(self, work: Awaitable[Result], doing: str) -> Result:
        """Await work, which is cancelled when it gets too late.

        Raises:
            RequestError: 504 at the deadline.
        """
        seconds = None if math.isinf(self.at) else self.at - monotonic()
        try:
            return await within(work, seconds)
        except asyncio.TimeoutError:
            raise expired(doing) from None


def _end(future: asyncio.Future[Any], doing: str) -> None:
    if not future.done():
        future.set_exception(expired(doing))


def expired(doing: str) -> RequestError:
    """Return the error of a passed deadline."""
    return RequestError(f"Request timeout expired: the deadline passed while {doing}", 504)
