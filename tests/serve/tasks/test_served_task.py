from __future__ import annotations

from adaptertune_deploy.serve.tasks.served_task import ServedTask
from tests.builders import make_task


def test_it_is_itself_and_not_another_of_its_name_and_version() -> None:
    one, other = (ServedTask(3, make_task("pets"), 2) for _ in range(2))
    assert one != other
    assert (one.name, one.identity) == ("pets", ("pets", 2))
    assert len({one, other, one}) == 2
