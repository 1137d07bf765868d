from __future__ import annotations

import threading

import pytest

from adaptertune_deploy.data.pixels.room import Room

WAIT_S = 10


def enter(room: Room, units: int) -> tuple[threading.Thread, threading.Event, threading.Event]:
    """Start a thread that takes units, says so, and keeps them until it is told to go."""
    inside, go = threading.Event(), threading.Event()

    def hold() -> None:
        with room.take(units):
            inside.set()
            go.wait(WAIT_S)

    thread = threading.Thread(target=hold)
    thread.start()
    return thread, inside, go


def test_who_does_not_fit_waits_for_what_is_given_back() -> None:
    room = Room(10)
    first, first_inside, first_go = enter(room, 6)
    assert first_inside.wait(WAIT_S)
    second, second_inside, second_go = enter(room, 5)
    with room.take(4):
        assert not second_inside.is_set()
    assert not second_inside.is_set()
    first_go.set()
    assert second_inside.wait(WAIT_S)
    second_go.set()
    first.join(WAIT_S)
    second.join(WAIT_S)


def test_more_than_all_is_had_alone() -> None:
    room = Room(10)
    with room.take(1000):
        thread, inside, go = enter(room, 1)
        assert not inside.is_set()
    assert inside.wait(WAIT_S)
    go.set()
    thread.join(WAIT_S)


def test_an_error_gives_back_what_was_taken() -> None:
    room = Room(1)
    with pytest.raises(ValueError, match="inside"), room.take(1):
        raise ValueError("inside")
    with room.take(1):
        pass
