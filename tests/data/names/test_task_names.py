"""data.names.task_names: a name that can't be a task's comes back with one that can."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.core.spec import check_task_name
from adaptertune_deploy.data.names.task_names import check_task_option, slug, task_of_folder


@pytest.mark.parametrize(
    ("name", "expected"),
    [("my pets", "my-pets"), ("Häuser & Höfe", "hauser-hofe"), ("..", ""), ("日本", ""), ("a..b", "a-b"), ("-x_", "x")],
)
def test_the_nearest_name(name: str, expected: str) -> None:
    assert slug(name) == expected


@given(st.text(max_size=200))
def test_what_is_suggested_is_accepted(name: str) -> None:
    suggested = slug(name)
    if suggested:
        check_task_name(suggested)


def test_the_message_carries_the_option_to_add() -> None:
    with pytest.raises(UsageError, match=r"^the folder's name 'my pets' can't name a task; add --task my-pets$"):
        task_of_folder("my pets")
    with pytest.raises(UsageError, match=r"can't name a task; add --task NAME$"):
        task_of_folder("日本")
    with pytest.raises(UsageError, match=r"^--task: task name 'two words' must be .*; use --task two-words$"):
        check_task_option("two words")
    with pytest.raises(UsageError, match=r"^the file's name 'my pets' can't name a task; add --task my-pets$"):
        task_of_folder("my pets", "file")
    assert task_of_folder("birds") == "birds"
    check_task_option("birds")
