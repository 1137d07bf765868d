"""Taking requests apart, in threads of their own: what is small at once, and nothing behind the decoding of images."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")
THREADS = 2
AT_ONCE = 32_768  # bytes: less work than handing it to a thread and back


class ParsePool:
    """Runs functions on the bytes of requests."""

    def __init__(self) -> None:
        """Make a pool; its threads start when they are needed."""
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="parse")

    async def call(self, size: int, function: Callable[..., Result], *arguments: object) -> Result:
        """Return function(*arguments), which works on so many bytes."""
        if size <= AT_ONCE:
            return function(*arguments)
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    def close(self) -> None:
        """Let the threads end."""
        self._threads.shutdown(wait=False, cancel_futures=True)
