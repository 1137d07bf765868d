from __future__ import annotations

import asyncio
import threading

from adaptertune_deploy.serve.decoding.parsing import AT_ONCE, ParsePool


def test_small_requests_are_parsed_at_once_and_large_ones_beside_the_event_loop() -> None:
    async def play() -> list[str]:
        pool = ParsePool()
        names = [await pool.call(size, lambda: threading.current_thread().name) for size in (AT_ONCE, AT_ONCE + 1)]
        pool.close()
        return names

    here, there = asyncio.run(play())
    assert here == threading.current_thread().name
    assert there.startswith("parse")
