"""One training's file among the checkpoints of its run, owned here; see docs/formats.md."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from adaptertune_deploy.core.errors import FormatError
from adaptertune_deploy.core.storage import files, records, tensors
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.train.outcome.measured import Step

NOTE = "adaptertune_training"
LARGEST = 1 << 34  # bytes of one training: more than any frozen backbone's trained part takes


@dataclass(frozen=True)
class Position:
    """How far one training is; see State.

    run: hash of the RunRecord that it belongs to.
    shapes: of the tensors beside it.
    sha256: of everything above and of the tensors; empty where an older version kept the training.
    """

    run: str
    step: int
    steps: int
    curve: tuple[Step, ...]
    adapters_with_gradient: int
    scaler: dict[str, float]
    shapes: dict[str, tuple[int, ...]]
    sha256: str = field(default="", metadata=records.NOTED)


@dataclass(frozen=True, eq=False)
class State:
    """One training between two steps.

    step, steps: taken, and of the whole schedule.
    tensors: trained tensors and what the optimiser keeps of each, float32.
    curve: points so far.
    adapters_with_gradient: see measured.Proofs.
    scaler: of a GradScaler that is enabled.
    """

    step: int
    steps: int
    tensors: Mapping[str, Array]
    curve: tuple[Step, ...]
    adapters_with_gradient: int
    scaler: Mapping[str, float] = field(default_factory=dict)


def read_state(path: Path) -> tuple[str, State]:
    """Return the hash of the run that a training belongs to, and where it was.

    Raises:
        FormatError: the file is damaged.
    """
    where = str(path)
    try:
        data = files.read_regular(path, LARGEST)
        position: Position = records.parse(json.loads(tensors.read_note(data, NOTE, where) or "null"), Position, where)
        kept = tensors.unpack(data, position.shapes, where)
    except FormatError as error:
        raise FormatError(str(error).partition(";")[0]) from None  # what follows is advice about adapters
    except ValueError as error:
        raise FormatError(f"{path}: not readable as JSON ({error})") from None
    if position.sha256 not in ("", _sha256(position, kept)):
        raise FormatError(f"{path}: is damaged: what it holds has another SHA-256 than when it was written")
    return position.run, State(
        position.step, position.steps, kept, position.curve, position.adapters_with_gradient, position.scaler
    )


def write_state(path: Path, run: str, state: State) -> None:
    """Write a training's file; the one before it stands until the new one is complete.

    Args:
        path: of the file.
        run: hash of the run that the training belongs to.
        state: where it is.

    Raises:
        OSError: no room.
    """
    position = Position(
        run,
        state.step,
        state.steps,
        state.curve,
        state.adapters_with_gradient,
        dict(state.scaler),
        {name: tuple(value.shape) for name, value in state.tensors.items()},
    )
    position = replace(position, sha256=_sha256(position, state.tensors))
    files.write_bytes(path, tensors.pack(state.tensors, (NOTE, records.dump(position))))


def _sha256(position: Position, kept: Mapping[str, Array]) -> str:
    """Hash a position, without its own hash, and then the tensors in the order of their names."""
    digest = hashlib.sha256(records.digest(position).encode())
    for name in sorted(kept):
        digest.update(np.ascontiguousarray(kept[name], dtype=np.float32).data)
    return digest.hexdigest()
