"""What an engine gave, checked before it becomes anybody's answer."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from adaptertune_deploy.core import bank
from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.core.spec import TaskSpec
from adaptertune_deploy.core.tensors import Array
from adaptertune_deploy.engines.engine import AnyArray


def take_logits(outputs: Mapping[str, AnyArray], rows: int, classes: int) -> Array:
    """Return the logits [rows, classes] of a run.

    Raises:
        EngineError: no logits, or of another shape: a graph that does not do what it declares.
    """
    logits = outputs.get(bank.LOGITS)
    if logits is None:
        raise EngineError(f"the graph gave no '{bank.LOGITS}', only {', '.join(outputs)}; run atd export again")
    if logits.shape != (rows, classes):
        raise EngineError(
            f"the graph gave logits of shape {list(logits.shape)}, expected [{rows}, {classes}]; run atd export again"
        )
    return logits


def check_finite(task: TaskSpec, logits: Array) -> None:
    """Raise EngineError when a row's logits hold NaN or infinity: such an answer is never given out."""
    if not np.isfinite(logits).all():
        raise EngineError(f"task '{task.name}' gave logits that are NaN or infinite; the answer is withheld")
