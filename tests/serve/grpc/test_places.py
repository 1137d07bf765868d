from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from adaptertune_deploy.core.errors import RequestError
from adaptertune_deploy.serve.grpc import places as module
from adaptertune_deploy.serve.grpc.places import Place, Places


class Silent:
    """A call whose message comes when it is told to."""

    def __init__(self) -> None:
        self.message: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def read(self) -> bytes:
        return await asyncio.shield(self.message)


async def read(places: Places, call: Silent) -> bytes:
    async with places.take() as place:
        found: bytes = await place.read(call)
        return found


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def play(body: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(body, 30))


@pytest.mark.parametrize("grace", [0.0, 0.02])
def test_the_one_that_is_late_longest_makes_room_for_each_that_waits(grace: float) -> None:
    async def body() -> None:
        places, calls = Places(2, grace), [Silent() for _ in range(4)]
        first, second = (asyncio.ensure_future(read(places, call)) for call in calls[:2])
        await settle()
        assert not first.done()  # nobody waits: nobody is late
        third = asyncio.ensure_future(read(places, calls[2]))
        with pytest.raises(RequestError, match="others waited") as caught:
            await first
        assert caught.value.status == 408
        assert not second.done()
        for call in calls:
            call.message.set_result(b"x")
        assert await second == await third == await read(places, calls[3]) == b"x"

    play(body())


def test_who_is_not_late_yet_is_waited_for() -> None:
    async def body() -> None:
        places, calls = Places(1, 1000.0), [Silent(), Silent()]
        first, second = (asyncio.ensure_future(read(places, call)) for call in calls)
        calls[1].message.set_result(b"2")
        await settle()
        assert not first.done()
        assert not second.done()
        calls[0].message.set_result(b"1")
        assert (await first, await second) == (b"1", b"2")

    play(body())


def test_who_is_not_patient_is_refused_unless_somebody_is_late() -> None:
    async def body() -> None:
        places, call = Places(1, 0.0), Silent()
        async with places.take() as busy:
            assert busy.since == float("inf")  # it is being answered: the server does not wait for it
            with pytest.raises(RequestError, match="1 streams are open, the most at a time") as caught:
                async with places.take(patient=False):
                    raise AssertionError
            assert caught.value.status == 503
        late = asyncio.ensure_future(read(places, call))
        await settle()
        async with places.take(patient=False) as place:
            assert isinstance(place, Place)
        with pytest.raises(RequestError):
            await late

    play(body())


def test_a_place_that_is_given_up_is_free_again() -> None:
    async def body() -> None:
        places, calls = Places(1, 1000.0), [Silent() for _ in range(3)]
        holds, waits = (asyncio.ensure_future(read(places, call)) for call in calls[:2])
        await settle()
        for gone in (waits, holds):
            gone.cancel()
            await asyncio.wait([gone])
            assert gone.cancelled()
        calls[2].message.set_result(b"3")
        assert await read(places, calls[2]) == b"3"

    play(body())


def test_a_message_is_waited_for_so_long() -> None:
    async def body() -> None:
        async with Places(1, 1000.0).take() as place:
            with pytest.raises(asyncio.TimeoutError):
                await place.read(Silent(), 0.01)

    play(body())


def test_who_has_sent_nothing_is_let_go_of_when_the_server_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body() -> None:
        monkeypatch.setattr(module, "LAST_S", 0.01)
        places, calls = Places(3, 1000.0), [Silent() for _ in range(3)]
        idle, sending = (asyncio.ensure_future(read(places, call)) for call in calls[:2])
        await settle()
        async with places.take() as busy:
            places.close()
            calls[1].message.set_result(b"on its way")
            with pytest.raises(RequestError, match="the server is shutting down; send further requests") as caught:
                await idle
            assert caught.value.status == 503
            assert await sending == b"on its way"
            with pytest.raises(RequestError, match="the server is shutting down"):
                await busy.read(calls[2])

    play(body())


@pytest.mark.parametrize(("most", "answered"), [(1000.0, True), (0.0, False)])
def test_what_came_before_the_end_is_read_for_a_moment(
    monkeypatch: pytest.MonkeyPatch, most: float, answered: bool
) -> None:
    async def body() -> None:
        monkeypatch.setattr(module, "LAST_S", 1000.0)
        monkeypatch.setattr(module, "MOST_S", most)
        places, call = Places(1, 1000.0), Silent()
        call.message.set_result(b"sent before")
        async with places.take() as place:
            places.close()
            if answered:
                assert await place.read(call) == b"sent before"
            else:
                with pytest.raises(RequestError, match="the server is shutting down"):
                    await place.read(call)

    play(body())
