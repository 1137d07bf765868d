"""Everything about a training run that can be refused or should be said before torch is loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from adaptertune_deploy.core.errors import BackboneError
from adaptertune_deploy.data.datasets import check_dataset
from adaptertune_deploy.train.logs.log import check_log
from adaptertune_deploy.train.request.destination import check_destination
from adaptertune_deploy.train.request.request import TrainRequest
from adaptertune_deploy.train.request.unused import unused
from adaptertune_deploy.train.request.usual_backbone import choose_backbone
from adaptertune_deploy.train.resume.claim import check_unclaimed
from adaptertune_deploy.train.resume.stopped import check_resume

# out, task and the dataset's folder, where it has one -> what to say of the place; may raise UsageError
CheckPlace = Callable[[Path, str, "Path | None"], "tuple[str, ...]"]


def check_train(request: TrainRequest, destination: CheckPlace = check_destination) -> tuple[str, ...]:
    """Return what a person should read before any work: what is replaced, removed or otherwise than usual.

    The recipe has checked itself. train_task makes the same choices again and does not repeat these sentences.

    Args:
        request: what to train.
        destination: looks at the place that will be written.

    Raises:
        UsageError: an option, a name or a place that won't do.
        DatasetError: a folder that is laid out in another way.
        BackboneError: no such weights file.
    """
    task, folder = check_dataset(request.dataset, request.data_dir, request.task)
    if request.weights is not None and not request.weights.is_file():
        raise BackboneError(f"--weights {request.weights}: no such weights file")
    check_log(request.log, request.log_dir, resume=request.resume)
    replaced = destination(request.out, task, folder)
    check_unclaimed(request.out, task)
    said = (*replaced, *check_resume(request.out, task, request.resume), *unused(request))
    return (*said, *choose_backbone(request.backbone, request.image_size, request.out, task).sentences)
