"""engines.bank.mixtures: what is copied when tasks of several ranks are asked for; no run reads another one's task."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.engines.bank.handle import HEAD_ONLY, Handle
from adaptertune_deploy.engines.bank.mixtures import FIRST, Mixtures
from adaptertune_deploy.engines.bank.slab import HostSlab
from adaptertune_deploy.engines.limits import Limits
from tests.serve.fakes import SLOTS, WIDTH, FakeEngine

MOST = 16
BIAS = "blocks.0.adapter.down.bias"


class Watched(FakeEngine):
    """An engine that keeps its slabs, and notes what is written."""

    def allocate(self, shapes: Mapping[str, tuple[int, ...]], capacity: int) -> HostSlab:
        slab = super().allocate(shapes, capacity)
        plain = slab.write

        def write(slot: int, tensors: Mapping[str, Any]) -> None:
            if self.error is not None:
                raise self.error
            self.written.append(slot)
            plain(slot, tensors)

        slab.write = write  # type: ignore[method-assign]
        self.slabs.append(slab)
        return slab

    slabs: list[HostSlab]
    written: list[int]


@pytest.fixture
def engine() -> Watched:
    return make_engine()


def make_engine(limits: Limits | None = None) -> Watched:
    engine = Watched(limits=limits or Limits())
    engine.slabs, engine.written = [], []
    return engine


def value(task: Handle) -> float:
    return 100 * task.rank + task.slot


def read(task: Handle) -> dict[str, Any]:
    if not task.rank:
        return {}
    return {
        name: np.full(shape, value(task), np.float32)
        for name, shape in bank.slot_shapes(SLOTS, WIDTH, task.rank).items()
    }


def check(slab: Any, places: Mapping[Handle, int], tasks: Iterable[Handle]) -> None:
    """Assert that a slab holds each task's tensors, padded with zeros."""
    assert len({*places.values()}) == len(places)
    for task in tasks:
        held = slab.read(places[task])
        rank = len(held[BIAS])
        assert held[BIAS].tolist() == [value(task)] * task.rank + [0] * (rank - task.rank)
        weight = held["blocks.0.adapter.up.weight"]
        assert (weight[: task.rank] == value(task)).all()
        assert not weight[task.rank :].any()


def lend(mixtures: Mixtures, *tasks: Handle, most: int = MOST) -> Any:
    with mixtures.lend(tasks, read, most) as (slab, places):
        check(slab, places, tasks)
        assert len(slab.read(0)[BIAS]) == max(task.rank for task in tasks)
        return slab


def test_what_is_asked_for_again_is_copied_no_more(engine: Watched) -> None:
    mixtures = Mixtures(engine, SLOTS, WIDTH)
    slab = lend(mixtures, Handle(2, 1), Handle(3, 1))
    assert len(engine.written) == 2
    assert lend(mixtures, Handle(3, 1), Handle(2, 1)) is slab
    assert lend(mixtures, Handle(3, 1), Handle(2, 1), HEAD_ONLY) is slab
    assert len(engine.written) == 3, "a task that is new is copied, and nothing else"
    assert len(engine.slabs) == 1


def test_each_widest_rank_has_a_slab_of_its_own(engine: Watched) -> None:
    mixtures = Mixtures(engine, SLOTS, WIDTH)
    narrow = lend(mixtures, Handle(1, 1), Handle(2, 1))
    wide = lend(mixtures, Handle(1, 1), Handle(9, 1))
    assert narrow is not wide
    assert lend(mixtures, Handle(1, 1), Handle(2, 1)) is narrow


def test_what_was_replaced_or_removed_is_copied_anew(engine: Watched) -> None:
    mixtures = Mixtures(engine, SLOTS, WIDTH)
    lend(mixtures, Handle(2, 1), Handle(3, 1))
    engine.written.clear()
    mixtures.forget(Handle(2, 1))
    lend(mixtures, Handle(2, 1), Handle(3, 1))
    assert len(engine.written) == 1
    for task in (Handle(2, 1), Handle(3, 1), Handle(7, 7)):
        mixtures.forget(task)
    assert not mixtures._held, "without tasks there is no slab"


def test_a_slab_grows_up_to_its_bound_and_then_the_oldest_makes_room(engine: Watched) -> None:
    mixtures = Mixtures(engine, SLOTS, WIDTH)
    tasks = [Handle(1, slot) for slot in range(1, 40)]
    for task in tasks:
        lend(mixtures, Handle(2, 1), task)
    assert [slab.capacity for slab in engine.slabs] == [FIRST, MOST]
    engine.written.clear()
    for task in tasks[-(MOST - 1) :]:
        lend(mixtures, Handle(2, 1), task)
    assert not engine.written
    lend(mixtures, Handle(2, 1), tasks[0])
    lend(mixtures, Handle(2, 1), tasks[-(MOST - 2)])
    assert len(engine.written) == 1


def test_a_run_gets_the_room_that_it_needs(engine: Watched) -> None:
    tasks = [Handle(rank, slot) for rank in (1, 2) for slot in range(1, 20)]
    slab = lend(Mixtures(engine, SLOTS, WIDTH), *tasks, most=4)
    assert slab.capacity == len(tasks)


def test_an_engine_is_asked_for_no_more_slots_than_it_takes() -> None:
    engine = make_engine(Limits(max_rows=3, max_slots=3))
    mixtures = Mixtures(engine, SLOTS, WIDTH)
    for slot in range(1, 9):
        lend(mixtures, Handle(1, slot), Handle(2, 1), HEAD_ONLY)
    assert [slab.capacity for slab in engine.slabs] == [3]


def test_a_slot_that_a_run_reads_is_not_written(engine: Watched) -> None:
    mixtures = Mixtures(engine, SLOTS, WIDTH)
    runs = [[Handle(1, 2 * run + 1), Handle(1, 2 * run + 2), Handle(2, 1)] for run in range(12)]
    with ExitStack() as stack:
        for tasks in runs:
            stack.enter_context(mixtures.lend(tasks, read, FIRST))
        # Every slab that is still read holds what it held when it was lent.
        lent = [mixtures.lend(tasks, read, FIRST) for tasks in runs]
        for tasks, again in zip(runs, lent, strict=True):
            slab, places = stack.enter_context(again)
            check(slab, places, tasks)
    assert all(not mixture.readers.total() for mixture in mixtures._held.values())


@settings(max_examples=40)
@given(st.lists(st.lists(st.integers(1, 30), min_size=1, max_size=6, unique=True), min_size=2, max_size=12), st.data())
def test_runs_that_overlap_read_their_own_tasks(asked: Sequence[Sequence[int]], data: st.DataObject) -> None:
    mixtures = Mixtures(make_engine(), SLOTS, WIDTH)
    running: list[tuple[Any, Any, Any, list[Handle]]] = []
    for slots in asked:
        tasks = [Handle(1 + slot % 2, slot) for slot in slots] + [Handle(3, 1)]
        run = mixtures.lend(tasks, read, FIRST)
        running.append((run, *run.__enter__(), tasks))
        if data.draw(st.booleans()):
            running.pop(data.draw(st.integers(0, len(running) - 1)))[0].__exit__(None, None, None)
        for _, slab, places, held in running:
            check(slab, places, held)
    for run, *_ in running:
        run.__exit__(None, None, None)


def test_a_copy_that_fails_leaves_no_task_behind_that_is_not_there(engine: Watched) -> None:
    mixtures = Mixtures(engine, SLOTS, WIDTH)
    lend(mixtures, Handle(1, 1), Handle(2, 1))
    engine.error = EngineError("no")
    with pytest.raises(EngineError, match="no"):
        lend(mixtures, Handle(1, 2), Handle(2, 1))
    engine.error = None
    lend(mixtures, Handle(1, 2), Handle(1, 1), Handle(2, 1))


def test_threads_that_ask_at_once(engine: Watched) -> None:
    mixtures = Mixtures(engine, SLOTS, WIDTH)
    done: list[int] = []

    def ask(seed: int) -> None:
        draw = np.random.default_rng(seed)
        for _ in range(40):
            lend(mixtures, Handle(2, 1), *(Handle(1, int(slot)) for slot in {*draw.integers(1, 30, 4)}))
        done.append(seed)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == [0, 1, 2, 3]
