"""train.resume.stopwatch: parts add up, over processes too, and one that goes on counts until now."""

from __future__ import annotations

from adaptertune_deploy.train.resume.stopwatch import RUN, Stopwatch

SEARCH = "search"


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_part_counts_from_its_beginning_to_its_end() -> None:
    clock = Clock()
    watch = Stopwatch(clock)
    assert (watch.seconds(RUN), watch.spent()) == (0.0, {})
    watch.begin(RUN)
    clock.now = 102.0
    watch.begin(SEARCH)
    clock.now = 105.0
    assert watch.end(SEARCH) == 3.0
    clock.now = 109.0
    assert watch.spent() == {RUN: 9.0, SEARCH: 3.0}


def test_what_another_process_spent_is_added() -> None:
    clock = Clock()
    watch = Stopwatch(clock)
    watch.begin(RUN)
    watch.add({RUN: 60.0, SEARCH: 20.0})
    clock.now = 101.0
    assert watch.spent() == {RUN: 61.0, SEARCH: 20.0}
    watch.begin(SEARCH)
    clock.now = 103.0
    assert watch.end(SEARCH) == 22.0
