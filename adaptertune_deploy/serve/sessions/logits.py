"""Logits are checked before they become anybody's answer."""

from __future__ import annotations

import numpy as np

from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.core.spec import TaskSpec
from adaptertune_deploy.core.storage.tensors import Array


def check_finite(task: TaskSpec, logits: Array) -> None:
    """Raise EngineError when a row's logits hold NaN or infinity: such an answer is never given out."""
    if not np.isfinite(logits).all():
        raise EngineError(f"task '{task.name}' gave logits that are NaN or infinite; the answer is withheld")
