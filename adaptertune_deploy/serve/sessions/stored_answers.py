"""Whether tasks answer as their bundle says they do, tried on an image that everybody can make.

core.answers.known_image makes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from adaptertune_deploy.core.answers.known_image import known_image
from adaptertune_deploy.core.answers.stored_answer import StoredAnswer
from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.core.images.preprocess import normalised
from adaptertune_deploy.core.precision import TOLERANCES
from adaptertune_deploy.core.spec import PreprocessSpec
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.engines.engine_facts import EngineFacts

# Of the tolerance that holds where a bundle is made: this is no photograph, and perhaps another processor.
SLACK = 3.0


class Answering(Protocol):
    """What is asked: a session.Session."""

    preprocess: PreprocessSpec
    engine: EngineFacts

    @property
    def answers(self) -> Mapping[int, StoredAnswer]:
        """See session.Session."""

    def run(self, images: Array, image: npt.NDArray[np.int64], task: npt.NDArray[np.int64]) -> list[Array]:
        """See session.Session."""


def check_answers(session: Answering, keys: Sequence[int], max_batch: int) -> None:
    """Ask tasks about the known image and compare what they say with what is stored; those without are passed over.

    Args:
        session: which holds them.
        keys: of the tasks.
        max_batch: rows of one run.

    Raises:
        EngineError: the engine failed, or a task answers otherwise; it is named.
    """
    stored = session.answers
    known = [key for key in keys if key in stored]
    if not known:
        return
    image = normalised(known_image(session.preprocess.size), session.preprocess)[None]
    for start in range(0, len(known), max_batch):
        rows = known[start : start + max_batch]
        found = session.run(image, np.zeros(len(rows), dtype=np.int64), np.array(rows, dtype=np.int64))
        for key, logits in zip(rows, found, strict=True):
            compare(stored[key], logits, session.engine)


def compare(stored: StoredAnswer, found: Array, engine: EngineFacts) -> None:
    """Raise EngineError when logits [C] are not those that are stored, within the tolerance of the precision."""
    expected = np.array(stored.logits)
    difference = np.abs(found.astype(np.float64) - expected)
    tolerance = TOLERANCES[engine.precision]
    allowed = SLACK * tolerance.largest(float(np.abs(expected).max()))
    largest, mean = float(difference.max()), float(difference.mean())
    if not (largest <= allowed and mean <= tolerance.mean * allowed):
        raise EngineError(
            f"task '{stored.task}' answers otherwise than its bundle says: logits differ by up to {largest:.1e} on "
            f"{engine.provider} in {engine.precision}, expected at most {allowed:.0e} (mean {mean:.1e} of "
            f"{tolerance.mean * allowed:.0e}); take another --engine, --device or --precision, or export it again"
        )
