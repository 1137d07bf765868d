"""Running tasks before anybody asks: no client pays for first runs, and no task is served that does not answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.core.spec import TaskSpec
from adaptertune_deploy.serve.sessions.logits import check_finite
from adaptertune_deploy.serve.sessions.stored_answers import Answering, check_answers


class Warmed(Answering, Protocol):
    """What is warmed: a session.Session."""

    form: str

    @property
    def tasks(self) -> Mapping[int, TaskSpec]:
        """See session.Session."""

    def unload(self, key: int) -> None:
        """See session.Session."""


def try_out(session: Warmed, key: int, max_batch: int = 1) -> None:
    """Let one task answer gray images; one that can't is unloaded.

    Raises:
        EngineError: the engine failed, or the task gave NaN.
    """
    try:
        warm_up(session, max_batch, [key])
    except BaseException:
        session.unload(key)
        raise


def warm_up(session: Warmed, max_batch: int, tasks: Sequence[int] | None = None) -> None:
    """Run a batch of 1 and a batch of `max_batch` rows on gray images, so that no client pays for first runs.

    So does every size between that the engine prepares by itself (engines.limits.Limits.rows), and every task. At last
    each is asked about the known image, and must answer as its bundle says (sessions.stored_answers).

    Args:
        session: which runs them.
        max_batch: rows of the largest run.
        tasks: keys; None for all that the session holds.

    Raises:
        EngineError: the engine failed, a task gave NaN or another answer than it should, or there is no memory for the
            batch.
    """
    held = session.tasks
    keys = list(held) if tasks is None else list(tasks)
    if not keys:
        return
    count = len(keys)
    alone = range(count) if session.form == "merged" else range(1)
    sizes = [rows for rows in session.engine.limits.rows if 1 < rows < max_batch]
    sizes += [max_batch] if max_batch > 1 else []
    batches = [[place] for place in alone] + [[row % count for row in range(size)] for size in sizes]
    batches += [list(range(start, min(start + max_batch, count))) for start in range(max_batch, count, max_batch)]
    for places in batches:
        try:
            images = np.zeros((len(places), 3, *session.preprocess.size), dtype=np.float32)
        except MemoryError:
            height, width = session.preprocess.size
            raise EngineError(
                f"no memory for {len(places)} images of {height} x {width} at once; lower --max-batch"
            ) from None
        rows = [keys[place] for place in places]
        found = session.run(images, np.arange(len(rows), dtype=np.int64), np.array(rows, dtype=np.int64))
        for key, logits in zip(rows, found, strict=True):
            check_finite(held[key], logits)
    check_answers(session, keys, max_batch)
