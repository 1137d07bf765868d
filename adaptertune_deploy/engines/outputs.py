"""What an engine gave, checked before anybody computes with it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.engines.engine import AnyArray, Engine


def take(outputs: Mapping[str, AnyArray], name: str, rows: int, width: int) -> Array:
    """Return the output `name` [rows, width] of a run.

    Raises:
        EngineError: no such output, or one of another shape: a graph that does not do what it declares.
    """
    found = outputs.get(name)
    if found is None:
        raise EngineError(f"the graph gave no '{name}', only {', '.join(outputs)}; run atd export again")
    if found.shape != (rows, width):
        raise EngineError(
            f"the graph gave {name} of shape {list(found.shape)}, expected [{rows}, {width}]; run atd export again"
        )
    return found


def run_merged(engine: Engine, images: Array, classes: int) -> Array:
    """Return the logits [N, classes] of a merged graph for images [N, 3, H, W], in as many runs as its limits ask for.

    Raises:
        EngineError: see take and Engine.run.
    """
    if engine.limits.takes(len(images)):
        return take(engine.run({bank.IMAGES: images}), bank.LOGITS, len(images), classes)
    parts = [images[part] for part in engine.limits.parts(len(images))]
    return np.concatenate([take(engine.run({bank.IMAGES: part}), bank.LOGITS, len(part), classes) for part in parts])
