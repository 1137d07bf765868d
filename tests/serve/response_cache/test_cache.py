from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from time import monotonic

import numpy as np
import pytest

from adaptertune_deploy.core.errors import RequestError
from adaptertune_deploy.serve.decoding.parsing import AT_ONCE, ParsePool
from adaptertune_deploy.serve.response_cache import cache as module
from adaptertune_deploy.serve.response_cache.cache import HASHED, PORTION, ResponseCache
from adaptertune_deploy.serve.response_cache.digests import digests
from adaptertune_deploy.serve.timing.deadline import Deadline
from tests.serve.fakes import WAIT_S, random_images, served

PETS, FLOWERS = served(0, 1)
LOGITS = np.arange(3, dtype=np.float32)
NEVER = Deadline()


@pytest.fixture
def parsing() -> Iterator[ParsePool]:
    pool = ParsePool()
    yield pool
    pool.close()


def test_what_is_kept_is_known_and_nothing_else(parsing: ParsePool) -> None:
    cache, images = ResponseCache(100_000, parsing), [b"one", b"two"]
    rows = [(image, task) for image in range(2) for task in (PETS, FLOWERS)]

    async def play() -> None:
        known = await cache.look(images, rows, NEVER)
        assert (dict(known.rows), known.digests) == ({}, digests(images))
        assert known.seconds > 0
        assert cache.keep(known, [rows[1], rows[2]], [LOGITS, LOGITS + 1]) > 0
        known = await cache.look(images[::-1], rows, NEVER)
        assert list(known.rows) == [(0, PETS), (1, FLOWERS)]
        np.testing.assert_array_equal(known.rows[0, PETS], LOGITS + 1)
        np.testing.assert_array_equal(known.rows[1, FLOWERS], LOGITS)
        pixels = random_images(2)
        assert not (await cache.look(pixels, [(0, PETS)], NEVER)).rows

    asyncio.run(play())


def test_large_images_are_hashed_beside_the_event_loop(parsing: ParsePool, monkeypatch: pytest.MonkeyPatch) -> None:
    cache, threads = ResponseCache(100_000, parsing), []

    def noted(images: list[bytes]) -> list[bytes]:
        threads.append(threading.current_thread())
        return digests(images)

    monkeypatch.setattr(module, "digests", noted)
    most = bytes(HASHED * (AT_ONCE + 1) - 1)
    for images in ([most], [most + b"x"]):
        asyncio.run(cache.look(images, [(0, PETS)], NEVER))
    assert [thread is threading.main_thread() for thread in threads] == [True, False]


def test_a_deadline_holds_before_and_while_images_are_hashed(
    parsing: ParsePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, gate = ResponseCache(100_000, parsing), threading.Event()

    def held(images: list[bytes]) -> list[bytes]:
        gate.wait(WAIT_S)
        return digests(images)

    monkeypatch.setattr(module, "digests", held)
    large = [bytes(HASHED * (AT_ONCE + 1))]
    for images, deadline in (([b"small"], Deadline(monotonic())), (large, Deadline(monotonic() + 0.05))):
        with pytest.raises(RequestError, match="the deadline passed while the answer was looked up") as caught:
            asyncio.run(cache.look(images, [(0, PETS)], deadline))
        assert caught.value.status == 504
    gate.set()


def test_a_task_that_is_forgotten_is_freed_between_turns_of_the_event_loop(parsing: ParsePool) -> None:
    cache = ResponseCache(100_000_000, parsing)
    images = digests([number.to_bytes(4, "little") for number in range(PORTION + 1)])

    async def play() -> list[int]:
        for image in images:
            cache.store.put(image, PETS, LOGITS)
        cache.store.put(images[0], FLOWERS, LOGITS)
        cache.forget(PETS)
        left = [len(cache.store)]
        while left[-1] > 1:
            await asyncio.sleep(0)
            left.append(len(cache.store))
        return left

    assert asyncio.run(play()) == [3, 1]  # the newest first, and the one of another task among them
