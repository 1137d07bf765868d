from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from adaptertune_deploy.serve.tasks.live_tasks import LiveTasks
from adaptertune_deploy.serve.tasks.served_task import ServedTask
from tests.builders import make_task
from tests.serve.fakes import served

PETS, FLOWERS = served(0, 1)
NEWER = ServedTask(7, make_task("pets"), 2)


class Bench:
    """Live tasks that write down what they tell."""

    def __init__(self, *tasks: ServedTask) -> None:
        self.published: list[ServedTask] = []
        self.released: list[ServedTask] = []
        self.live = LiveTasks(tasks, self.published.append, self.released.append)


def test_a_task_that_nobody_reads_is_released_at_once() -> None:
    bench = Bench(PETS, FLOWERS)
    bench.live.publish(NEWER)
    assert (bench.published, bench.released) == ([NEWER], [PETS])
    assert bench.live.withdraw("flowers") is FLOWERS
    assert bench.live.withdraw("flowers") is None
    assert bench.released == [PETS, FLOWERS]
    assert list(bench.live.current) == [NEWER]


def test_a_task_that_is_read_is_released_with_its_last_reader() -> None:
    bench = Bench(PETS, FLOWERS)
    with bench.live.hold([PETS, FLOWERS]):
        with bench.live.hold([PETS]):
            bench.live.publish(NEWER)
            assert bench.live.current.get("pets") is NEWER
            assert bench.live.leaving() == (PETS,)
        assert bench.released == []
        assert bench.live.shows(("pets", 1))
    assert bench.released == [PETS]
    assert bench.live.leaving() == ()
    assert not bench.live.shows(("pets", 1))


def test_a_current_task_is_not_released_by_its_readers() -> None:
    bench = Bench(PETS)
    with bench.live.hold([PETS]):
        pass
    assert bench.released == []


def test_an_error_ends_the_reading_too() -> None:
    bench = Bench(PETS)
    try:
        with bench.live.hold([PETS]):
            bench.live.withdraw("pets")
            raise RuntimeError
    except RuntimeError:
        assert bench.released == [PETS]


steps = st.lists(st.tuples(st.sampled_from(["publish", "withdraw", "hold", "leave"]), st.integers(0, 2)), max_size=60)


@given(steps)
def test_whatever_happens_a_task_is_released_once_and_never_while_it_is_read(changes: list[tuple[str, int]]) -> None:
    bench, reading, made = Bench(), [], []
    for change, place in changes:
        name, current = f"task{place}", bench.live.current.get(f"task{place}")
        if change == "publish":
            made.append(ServedTask(len(made), make_task(name)))
            bench.live.publish(made[-1])
        elif change == "withdraw":
            bench.live.withdraw(name)
        elif change == "hold" and current is not None:
            holding = bench.live.hold([current])
            holding.__enter__()
            reading.append((current, holding))
        elif change == "leave" and reading:
            reading.pop(place % len(reading))[1].__exit__(None, None, None)
        read = {task for task, _ in reading}
        assert not read & {*bench.released}
        assert {*made} == {*bench.live.current} | read | {*bench.released}
    for _, holding in reading:
        holding.__exit__(None, None, None)
    assert max(Counter(bench.released).values(), default=0) <= 1
    assert {*made} == {*bench.live.current} | {*bench.released}
