"""What the first process of a training does: all that a process alone does, with the others' help in its steps."""

from __future__ import annotations

from collections.abc import Callable

from adaptertune_deploy.core.progress import Progress
from adaptertune_deploy.train.parallel.group import Group
from adaptertune_deploy.train.parallel.launch import Launch
from adaptertune_deploy.train.request import TrainRequest
from adaptertune_deploy.train.trainer import TrainResult, train_task


def lead_train(request: TrainRequest, launch: Launch, progress: Progress, tell: Callable[[str], None]) -> TrainResult:
    """Train one task as train.trainer.train_task does.

    Raises:
        LostError: another process is gone.
    """
    group = Group(launch)
    result = train_task(request, progress, tell, group=group)
    group.close()
    return result
