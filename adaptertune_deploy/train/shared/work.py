"""What the first process of a training hands to the others: once what a run consists of, then each of its trainings."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adaptertune_deploy.core.progress import silent
from adaptertune_deploy.core.spec import BackboneSpec
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.train.parallel.group import Group
from adaptertune_deploy.train.probe.head import Weights
from adaptertune_deploy.train.request.recipe import Recipe
from adaptertune_deploy.train.request.request import TrainRequest
from adaptertune_deploy.train.resume.state_file import State
from adaptertune_deploy.train.run import Rows, Run


@dataclass(frozen=True, eq=False)
class Setup:
    """What all trainings of a run share.

    run: without what belongs to a process: backbone, device, files, progress.
    spec: of the backbone.
    weights, allow_random: of the request, from which the backbone is loaded.
    """

    run: Run
    spec: BackboneSpec
    weights: Path | None
    allow_random: bool


@dataclass(frozen=True, eq=False)
class Work:
    """One training, with what it begins with; see candidates.fit_adapters.

    tensors: of adapters and head.
    steps: of the whole schedule.
    """

    rows: Rows
    recipe: Recipe
    weights: Weights | None
    tensors: Mapping[str, Array]
    steps: int
    start: State | None


def setup_of(run: Run, request: TrainRequest) -> Setup:
    """Return what the first process hands to the others before any training."""
    own: dict[str, Any] = dict.fromkeys(("backbone", "checkpoints", "logs", "views", "group"))
    bare = dataclasses.replace(run, **own, progress=silent, tell=unheard)
    return Setup(bare, run.backbone.spec, request.weights, request.allow_random)


@contextmanager
def shared(run: Run, request: TrainRequest, group: Group | None) -> Iterator[Run]:
    """Let all trainings of a run be taken part in; yields the run that does so, which is the same without a group.

    A failure says nothing to the others: their connections end with this process.
    """
    if group is None:
        yield run
        return
    group.send(setup_of(run, request))
    yield dataclasses.replace(run, group=group)
    group.send(None)


def unheard(sentence: str) -> None:
    """Tell nobody: the first process tells."""
