from __future__ import annotations

from adaptertune_deploy.serve.tasks.index import Index
from adaptertune_deploy.serve.tasks.live_tasks import LiveTasks
from adaptertune_deploy.serve.tasks.versions import by_content, counted

ONE, TWO = "ab" * 32, "00000000" + "cd" * 28


def index(*contents: str) -> list[int]:
    tasks = LiveTasks([], lambda task: None, lambda task: None)
    held = Index(tasks, by_content)
    return [held.version("pets", content) for content in contents]


def test_one_server_counts() -> None:
    assert [counted(0, ONE), counted(1, TWO), counted(2, "")] == [1, 2, 3]


def test_a_content_has_its_number_whatever_came_before() -> None:
    assert by_content(0, ONE) == by_content(17, ONE) == 0xABABABAB
    assert by_content(5, TWO) == 1  # 0 is no version
    assert by_content(5, "") == 6


def test_servers_that_saw_different_histories_agree() -> None:
    assert index(ONE, TWO, ONE)[-1] == index(ONE)[-1] == index(TWO, ONE, ONE)[-1]
