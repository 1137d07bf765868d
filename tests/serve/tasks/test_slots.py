"""Fewer slots than tasks: who gets one, who waits, and who gives his up."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from time import monotonic

import pytest

from adaptertune_deploy.core.errors import EngineError, FormatError, RequestError
from adaptertune_deploy.serve.tasks.live_tasks import LiveTasks
from adaptertune_deploy.serve.tasks.served_task import ServedTask
from adaptertune_deploy.serve.tasks.slots import Slots
from adaptertune_deploy.serve.timing.deadline import Deadline
from tests.builders import make_task
from tests.serve.fakes import WAIT_S

NEVER = Deadline()


@dataclass
class Bench:
    """Slots over an engine that only counts.

    loaded: keys that lie in it. most: of these at a time.
    events: what happened, in its order.
    gate: while cleared a load waits.
    """

    slots: Slots = field(init=False)
    live: LiveTasks = field(init=False)
    tasks: list[ServedTask] = field(default_factory=list)
    loaded: set[int] = field(default_factory=set)
    most: int = 0
    events: list[str] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    broken: set[str] = field(default_factory=set)
    keys: int = 0

    def load(self, name: str) -> int:
        if name in self.broken:
            raise FormatError(f"{name} is damaged")
        self.keys += 1
        self.loaded.add(self.keys)
        self.most = max(self.most, len(self.loaded))
        return self.keys

    async def run(self, work: Callable[[], int]) -> int:
        await self.gate.wait()
        return work()

    def unload(self, key: int) -> None:
        self.loaded.remove(key)

    def asked_slot(self, hit: bool) -> None:
        self.events.append("hit" if hit else "miss")

    def evicted(self) -> None:
        self.events.append("evicted")

    def brought_up(self, seconds: float) -> None:
        assert seconds >= 0
        self.events.append("brought up")

    async def use(self, name: str, deadline: Deadline = NEVER, until: asyncio.Event | None = None) -> None:
        """Ask a task, and go on reading its slot for so long."""
        task = self.task(name)
        with self.live.hold([task]):
            async with self.slots.brought(task, deadline):
                assert task.key in self.loaded
                if until is not None:
                    await until.wait()
                assert task.key in self.loaded

    async def change(self, name: str) -> None:
        """Load another version of a task, as tasks.loader does."""
        async with self.slots.room():
            key = await self.run(lambda: self.load(name))
            task = ServedTask(key, make_task(name), bring=lambda: self.load(name))
            self.slots.settle(task)
            self.live.publish(task)

    def task(self, name: str) -> ServedTask:
        found = self.live.current.get(name)
        assert found is not None
        return found

    @property
    def warm(self) -> set[str]:
        return {task.name for task in self.slots.warm_tasks}


def make(names: str, count: int, pinned: str = "") -> Bench:
    """Return a bench of tasks with one letter each, of which the first ones have a slot."""
    bench = Bench()
    bench.gate.set()
    bench.live = LiveTasks([], lambda task: None, lambda task: bench.slots.forget(task))
    bench.slots = Slots(count, pinned, bench.live, bench.run, bench.unload, bench)
    for place, name in enumerate(names):
        key = bench.load(name) if not count or place < count else None
        task = ServedTask(key, make_task(name), bring=lambda name=name: bench.load(name))
        if key is not None:
            bench.slots.settle(task)
        bench.live.publish(task)
    return bench


def play(body: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(body(), WAIT_S))


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@contextmanager
def reading(bench: Bench, *names: str) -> Iterator[asyncio.Event]:
    """Read slots until the event is set."""
    done = asyncio.Event()
    with ExitStack() as stack:
        for name in names:
            reader = asyncio.ensure_future(bench.use(name, until=done))
            stack.callback(reader.cancel)
        yield done


def test_the_least_recently_used_one_makes_room_and_what_is_pinned_stays() -> None:
    async def body() -> None:
        bench = make("abcde", 3, pinned="a")
        await bench.use("b")
        await bench.use("d")  # c was used least recently, but for a
        assert bench.warm == {"a", "b", "d"}
        await bench.use("e")
        assert bench.warm == {"a", "d", "e"}
        await bench.use("b")
        assert bench.warm == {"a", "e", "b"}
        assert (bench.most, len(bench.loaded)) == (3, 3)
        bench.slots.count([bench.task("a"), bench.task("c")])
        assert bench.events == ["evicted", "brought up"] * 3 + ["hit", "miss"]

    play(body)


def test_a_cold_task_holds_no_warm_one_up() -> None:
    async def body() -> None:
        bench = make("abc", 2)
        bench.gate.clear()
        cold = asyncio.ensure_future(bench.use("c"))
        await settle()
        await bench.use("b")
        assert not cold.done()
        bench.gate.set()
        await cold

    play(body)


def test_a_slot_that_is_read_is_written_when_nobody_reads_it_any_more() -> None:
    async def body() -> None:
        bench = make("ab", 1)
        with reading(bench, "a") as done:
            await settle()
            cold = asyncio.ensure_future(bench.use("b"))
            await settle()
            assert not cold.done()
            assert bench.loaded == {1}
            again = asyncio.ensure_future(bench.use("a"))  # behind b: it would keep the slot for ever otherwise
            await settle()
            assert not again.done()
            done.set()
            await cold
            await again
        assert (bench.most, bench.warm) == (1, {"a"})

    play(body)


def test_cold_tasks_come_in_the_order_of_asking_and_each_answers_all_that_wait_for_it() -> None:
    async def body() -> None:
        bench = make("abcdef", 2)
        order: list[str] = []

        async def ask(name: str) -> None:
            await bench.use(name)
            order.append(name)

        await asyncio.gather(*(ask(name) for name in "cdefcdefcdef"))
        assert order == [name for name in "cdef" for _ in range(3)]
        assert bench.events.count("brought up") == 4  # not one for each request
        assert bench.most == 2

    play(body)


def test_a_deadline_ends_the_waiting_and_nothing_is_brought_up_for_nobody() -> None:
    async def body() -> None:
        bench = make("abc", 1)
        bench.gate.clear()
        first = asyncio.ensure_future(bench.use("b"))
        await settle()
        with pytest.raises(RequestError, match="the deadline passed while the task was brought up") as caught:
            await bench.use("c", Deadline(monotonic() + 0.01))
        assert caught.value.status == 504
        bench.gate.set()
        await first
        await settle()
        assert bench.events.count("brought up") == 1
        await bench.use("c")

    play(body)


def test_who_leaves_while_it_is_brought_up_leaves_no_slot_lent() -> None:
    async def body() -> None:
        bench = make("ab", 1)
        bench.gate.clear()
        gone = asyncio.ensure_future(bench.use("b"))
        await settle()
        gone.cancel()
        await asyncio.wait([gone])
        bench.gate.set()
        await bench.use("a")
        await bench.use("b")
        assert (bench.most, bench.warm) == (1, {"b"})

    play(body)


def test_a_task_that_can_not_be_brought_up_says_so_and_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    async def body() -> None:
        bench = make("abc", 1)
        bench.broken.add("b")
        with pytest.raises(RequestError, match="task 'b' could not be brought up; the server's log says why") as caught:
            await bench.use("b")
        assert caught.value.status == 503
        assert bench.slots.problem(bench.task("b")) == "b is damaged"
        assert "task 'b' could not be brought up: b is damaged" in caplog.text
        await bench.use("c")
        bench.broken.clear()
        await bench.use("b")
        assert bench.slots.problem(bench.task("b")) == ""

    play(body)


def test_a_version_that_is_let_go_of_while_it_is_brought_up_answers_who_asked_and_is_unloaded() -> None:
    async def body() -> None:
        bench = make("abc", 2)
        bench.gate.clear()
        asked = asyncio.ensure_future(bench.use("c"))
        await settle()
        bench.live.withdraw("c")
        bench.gate.set()
        await asked
        await settle()
        assert len(bench.loaded) == 1
        bench.live.withdraw("b")
        assert bench.warm <= {"a"}

    play(body)


def test_a_load_takes_its_slot_in_turn_and_pins_may_leave_none() -> None:
    async def body() -> None:
        bench = make("ab", 1)
        async with bench.slots.room():
            assert bench.loaded == set()
            cold = asyncio.ensure_future(bench.use("b"))
            await settle()
            assert not cold.done()
        await cold
        full = make("ab", 1, pinned="a")
        with pytest.raises(EngineError, match="every one of 1 slots is pinned"):
            async with full.slots.room():
                raise AssertionError
        with pytest.raises(RequestError):
            await full.use("b")

    play(body)


def test_a_load_gets_the_slot_that_was_to_leave_though_its_task_is_asked_for_again() -> None:
    async def body() -> None:
        bench = make("a", 1)
        with reading(bench, "a") as done:
            await settle()
            load = asyncio.ensure_future(bench.change("b"))
            await settle()
            assert bench.warm == set()
            again = asyncio.ensure_future(bench.use("a"))
            await settle()
            assert not load.done()
            assert not again.done()
            done.set()
            await load
            await again
        assert (bench.most, bench.warm) == (1, {"a"})

    play(body)


def test_a_slot_that_was_to_leave_for_a_load_that_is_gone_stays() -> None:
    async def body() -> None:
        bench = make("a", 1)
        with reading(bench, "a") as done:
            await settle()
            load = asyncio.ensure_future(bench.change("b"))
            await settle()
            load.cancel()
            await bench.use("a")
            assert bench.warm == {"a"}
            done.set()
        assert bench.events.count("brought up") == 0

    play(body)


def test_a_server_that_ends_lets_all_go_who_wait() -> None:
    async def body() -> None:
        bench = make("ab", 1)
        bench.gate.clear()
        waiting = asyncio.ensure_future(bench.use("b"))
        await settle()
        bench.slots.abandon()
        with pytest.raises(RequestError, match="shutting down") as caught:
            await waiting
        assert caught.value.status == 503
        await bench.slots.close()

    play(body)


def test_without_a_bound_every_task_is_warm() -> None:
    bench = make("abcdef", 0)
    assert not bench.slots.bounded
    assert bench.warm == set("abcdef")


@pytest.mark.case(
    "B9", "tasks twice as many as slots, asked for by many at once in any order", "all answered, never more than slots"
)
@pytest.mark.parametrize("seed", range(3))
def test_many_that_ask_for_more_tasks_than_slots_are_all_answered(seed: int) -> None:
    turns = random.Random(seed)

    async def body() -> None:
        bench = make("abcdefgh", 3, pinned="h" if seed else "")

        async def ask() -> None:
            for _ in range(20):
                pause = asyncio.Event()
                asyncio.get_running_loop().call_soon(pause.set)
                await bench.use(turns.choice("abcdefgh"), until=pause if turns.random() < 0.5 else None)

        await asyncio.gather(*(ask() for _ in range(30)))
        assert bench.most <= 3
        loads = bench.events.count("brought up")
        assert loads <= 600
        assert bench.events.count("evicted") >= loads - 3

    play(body)


@pytest.mark.case(
    "B9", "tasks replaced again and again while others are asked for without a pause", "every load and every answer"
)
@pytest.mark.parametrize("slots", [1, 2])
@pytest.mark.parametrize("seed", range(4))
def test_loads_get_their_turn_under_traffic_that_does_not_end_before_them(seed: int, slots: int) -> None:
    turns = random.Random(seed)

    async def body() -> None:
        bench = make("abcd", slots)
        loads = asyncio.Event()
        answered = 0

        async def ask(names: str) -> None:
            nonlocal answered
            while not loads.is_set():
                pause = asyncio.Event()
                asyncio.get_running_loop().call_soon(pause.set)
                await bench.use(turns.choice(names), until=pause if turns.random() < 0.7 else None)
                answered += 1
                if turns.random() < 0.3:
                    await asyncio.sleep(0)

        traffic = [asyncio.ensure_future(ask(names)) for names in ("a", "a", "a", "ab", "abcd")]
        for _ in range(40):
            await bench.change(turns.choice("bcd"))
            for _ in range(turns.randrange(6)):
                await asyncio.sleep(0)
        loads.set()
        await asyncio.gather(*traffic)
        assert answered > 40
        assert bench.most <= slots

    play(body)
