"""serve.told: what is told of a task is of the content that is served, and read again when that is another one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from adaptertune_deploy.core.errors import FormatError
from adaptertune_deploy.serve.facts.about import About, AboutTask
from adaptertune_deploy.serve.facts.told import Told
from adaptertune_deploy.serve.tasks.served_task import ServedTask
from tests.builders import make_task


def about(**digests: str) -> About:
    return About(tasks={name: AboutTask(1, None, frozenset({digest, "graph"})) for name, digest in digests.items()})


def served(name: str, digest: str, version: int = 1) -> ServedTask:
    return ServedTask(0, make_task(name), version, digest)


def ask(told: Told, *tasks: ServedTask) -> Mapping[str, AboutTask]:
    return asyncio.run(told.of(tasks))


def test_only_what_is_served_is_told() -> None:
    told = Told(about(pets="a", birds="b"))
    assert list(ask(told, served("pets", "a"), served("birds", "other"), served("fish", "a"))) == ["pets"]
    assert list(ask(told, served("pets", "graph"))) == ["pets"]


def test_another_content_is_read_again_once() -> None:
    reads = []

    def read() -> About:
        reads.append(1)
        return about(pets="new")

    told = Told(about(pets="old"), read)
    assert ask(told, served("pets", "old")) == told.about.tasks
    assert reads == []
    for _ in range(3):
        assert list(ask(told, served("pets", "new", 2))) == ["pets"]
        assert ask(told, served("pets", "old")) == {}  # the bundle holds it no longer
    assert len(reads) == 2


def test_what_can_not_be_read_is_not_told() -> None:
    def read() -> About:
        raise FormatError("damaged")

    told = Told(about(pets="old"), read)
    assert ask(told, served("pets", "new")) == {}
    assert list(ask(told, served("pets", "old"))) == ["pets"]
