from __future__ import annotations

from adaptertune_deploy.serve.tasks.generation import Generation
from adaptertune_deploy.serve.tasks.served_task import ServedTask
from tests.builders import make_task
from tests.serve.fakes import served

PETS, FLOWERS, DIGITS = served(0, 1, 2)
NEWER = ServedTask(7, make_task("pets", classes=9), 2)


def test_a_change_makes_another_generation_and_leaves_the_one_that_stands() -> None:
    first = Generation([PETS, FLOWERS])
    second, third, fourth = first.with_task(DIGITS), first.with_task(NEWER), first.without("pets")
    assert list(first) == [PETS, FLOWERS]
    assert list(second) == [PETS, FLOWERS, DIGITS]
    assert list(third) == [NEWER, FLOWERS]
    assert list(fourth) == [FLOWERS]
    assert [len(each) for each in (first, second, third, fourth)] == [2, 3, 2, 1]


def test_a_name_gives_the_version_that_stands() -> None:
    generation = Generation([PETS, FLOWERS]).with_task(NEWER)
    assert generation.get("pets") is NEWER
    assert generation.get("digits") is None
    assert generation.names == ("pets", "flowers")
    assert generation.holds(NEWER)
    assert not generation.holds(PETS)
    assert list(generation.without("unknown")) == [NEWER, FLOWERS]
