"""What the first process does: all that a process alone does, with the others' help in the steps of its trainings."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from adaptertune_deploy.train.parallel.group import Group
from adaptertune_deploy.train.parallel.launch import Launch

Result = TypeVar("Result")


def lead(launch: Launch, work: Callable[[Group], Result]) -> Result:
    """Do the work with its group once all processes have come; returns what it comes to.

    Raises:
        LostError: another process is gone.
    """
    group = Group(launch)
    result = work(group)
    group.close()
    return result
