"""A session over merged graphs: one engine per task, rows grouped by task."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from adaptertune_deploy.core import bank
from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.core.spec import PreprocessSpec, TaskSpec
from adaptertune_deploy.core.tensors import Array
from adaptertune_deploy.engines import outputs
from adaptertune_deploy.engines.engine import Engine
from adaptertune_deploy.engines.engine_facts import facts_of


class MergedSession:
    """Answers a mixed batch with one engine run per task in it; see session.Session."""

    form = "merged"

    def __init__(self, engines: Sequence[Engine], tasks: Sequence[TaskSpec], preprocess: PreprocessSpec) -> None:
        """Take engines that hold the merged graphs of `tasks`, in the same order."""
        self.tasks = tuple(tasks)
        self.preprocess = preprocess
        self.engine = facts_of(engines[0])
        self._engines = tuple(engines)

    def run(self, images: Array, image: npt.NDArray[np.int64], task: npt.NDArray[np.int64]) -> list[Array]:
        """See session.Session.run."""
        bank.check_rows(len(images), image, task, len(self.tasks))
        rows: list[Array | None] = [None] * len(task)
        for index in np.unique(task).tolist():
            places = np.flatnonzero(task == index)
            chosen = _gather(images, image[places])
            logits = outputs.run_merged(self._engines[index], chosen, len(self.tasks[index].labels))
            for place, row in zip(places.tolist(), logits, strict=True):
                rows[place] = row
        return [row for row in rows if row is not None]

    def features(self, images: Array, image: npt.NDArray[np.int64], task: npt.NDArray[np.int64]) -> Array:
        """Raise UsageError: a merged graph gives logits only."""
        raise UsageError("a merged graph gives no features, only logits; take --form shared")

    def close(self) -> None:
        """Release the engines."""
        for engine in self._engines:
            engine.close()


def _gather(images: Array, chosen: npt.NDArray[np.int64]) -> Array:
    """Return images[chosen], without a copy when that is all of them in order."""
    if len(chosen) == len(images) and np.array_equal(chosen, np.arange(len(images))):
        return images
    return images[chosen]
