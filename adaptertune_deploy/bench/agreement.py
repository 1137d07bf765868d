"""Whether a session answers as torch did, within what its precision may change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from adaptertune_deploy.bench.known import Known
from adaptertune_deploy.core.precision import TOLERANCES, Precision
from adaptertune_deploy.serve.sessions.logits import check_finite
from adaptertune_deploy.serve.sessions.session import Session

ROWS = 8  # of a run


@dataclass(frozen=True)
class Agreement:
    """A session against torch's stored answers.

    images: pairs of a sample and its task.
    same: of them, those with the same first class.
    max_abs: largest difference of a logit.
    of_tolerance: the largest or the mean difference, whichever comes nearer, as a share of what the precision may
        (core.precision.TOLERANCES), of the worst task; above 1 the answers are others.
    """

    images: int
    same: int
    max_abs: float
    of_tolerance: float

    @property
    def holds(self) -> bool:
        """Whether the precision explains all differences."""
        return self.of_tolerance <= 1

    @property
    def words(self) -> str:
        """What people read: "63 of 64"."""
        return f"{self.same} of {self.images}"


def agreement(session: Session, known: Sequence[Known], precision: Precision) -> Agreement:
    """Ask a session about every sample and compare.

    Args:
        session: holds the known tasks.
        known: at least one task.
        precision: that the session computes in.

    Raises:
        EngineError: the engine failed or gave NaN.
    """
    keys = {task.name: key for key, task in session.tasks.items()}
    parts = [_compare(session, keys[entry.record.task.name], entry, precision) for entry in known]
    return joined(parts)


def joined(parts: Sequence[Agreement]) -> Agreement:
    """Return what several measurements come to together."""
    return Agreement(
        sum(part.images for part in parts),
        sum(part.same for part in parts),
        max(part.max_abs for part in parts),
        max(part.of_tolerance for part in parts),
    )


def _compare(session: Session, key: int, entry: Known, precision: Precision) -> Agreement:
    images, expected = entry.answers.images, entry.answers.logits.astype(np.float64)
    rows = []
    for start in range(0, len(images), ROWS):
        part = images[start : start + ROWS]
        count = np.arange(len(part), dtype=np.int64)
        rows += session.run(part, count, np.full_like(count, key))
    found = np.stack(rows)
    check_finite(entry.record.task, found)
    difference = np.abs(found - expected)
    tolerance = TOLERANCES[precision]
    allowed = tolerance.largest(float(np.abs(expected).max()))
    largest, mean = float(difference.max()), float(difference.mean())
    same = int((found.argmax(axis=1) == expected.argmax(axis=1)).sum())
    return Agreement(len(found), same, largest, max(largest / allowed, mean / (tolerance.mean * allowed)))
