"""What a training run is asked for, before anything heavy is loaded."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.train.request.recipe import Recipe


@dataclass(frozen=True)
class TrainRequest:
    """What `atd train` was asked.

    dataset: a known name or the path of an image folder.
    out: folder that holds the adapter folders.
    backbone: timm name; None takes the usual one (train.request.usual_backbone).
    image_size: (height, width) in pixels; None takes that of the tasks beside it, else the backbone's own.
    task: name of the task; None takes the dataset's.
    data_dir: where the dataset lies or goes; None takes data/<dataset>.
    weights: local weights of the backbone.
    allow_missing: skip images that a list names and the disk lacks.
    skip_bad: leave out images that are absent, damaged, too large or no images.
    allow_random: permit the backbone tag "random".
    resume: go on with the training of this task that was stopped.
    checkpoint_every: seconds between two states kept on disk; 0 keeps none.
    log: what logs every step, of train.logs.log.KINDS.
    log_dir: folder of the logs; None makes them a part of the report.
    """

    dataset: str
    backbone: str | None
    out: Path
    recipe: Recipe = field(default_factory=Recipe)
    task: str | None = None
    data_dir: Path | None = None
    weights: Path | None = None
    allow_missing: bool = False
    skip_bad: bool = False
    allow_random: bool = False
    image_size: tuple[int, int] | None = None
    resume: bool = False
    checkpoint_every: float = 60.0
    log: tuple[str, ...] = ()
    log_dir: Path | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.checkpoint_every < math.inf:
            raise UsageError(f"--checkpoint-every {self.checkpoint_every}: expected seconds from 0 (keep nothing)")
