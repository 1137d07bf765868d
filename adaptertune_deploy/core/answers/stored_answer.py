"""What a task is known to answer before a server runs it; a file that loads nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class StoredAnswer:
    """What is known of a task's answer before a server runs it.

    image: name of the image that is asked about; see core.answers.known_image.
    logits: as served, for the labels in their order.
    """

    task: str
    image: str
    logits: tuple[float, ...]

    def __post_init__(self) -> None:
        if not all(math.isfinite(logit) for logit in self.logits):
            raise ValueError(f"stored answer of task '{self.task:.80}': logits must be finite numbers")
