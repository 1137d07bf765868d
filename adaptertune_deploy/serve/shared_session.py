"""A session over the shared graph: one engine for every task, the bank bound to it once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from adaptertune_deploy.core import bank, heads
from adaptertune_deploy.core.adapter import Adapter
from adaptertune_deploy.core.spec import PreprocessSpec, TaskSpec
from adaptertune_deploy.core.tensors import Array
from adaptertune_deploy.engines import outputs
from adaptertune_deploy.engines.engine import Engine


class SharedSession:
    """Answers rows of any mixture of tasks in one engine run; see session.Session."""

    form = "shared"

    def __init__(
        self, engine: Engine, adapters: Sequence[Adapter], slots: Sequence[int], width: int, preprocess: PreprocessSpec
    ) -> None:
        """Bind the bank of `adapters`, in their order, to an engine that holds the shared graph.

        Args:
            engine: holds the graph.
            adapters: the tasks.
            slots: the graph's slots.
            width: D, channels of the backbone's tokens.
            preprocess: how an image becomes its input.

        Raises:
            FormatError: a task adapts a block that the graph has no slot for.
            EngineError: the graph does not take this bank.
        """
        rows, self._row = _rows(adapters)
        engine.bind(bank.stack(rows, slots, width))
        self._heads = [heads.head_of(adapter) for adapter in adapters]
        self.tasks: tuple[TaskSpec, ...] = tuple(adapter.task for adapter in adapters)
        self.preprocess = preprocess
        self.provider = engine.provider
        self._engine = engine

    def run(self, images: Array, image: npt.NDArray[np.int64], task: npt.NDArray[np.int64]) -> list[Array]:
        """See session.Session.run; an image runs once for all tasks that are a head only."""
        bank.check_rows(len(images), image, task, len(self.tasks))
        pairs = list(zip(image.tolist(), self._row[task].tolist(), strict=True))
        places = {pair: place for place, pair in enumerate(dict.fromkeys(pairs))}
        asked = np.array(list(places), dtype=np.int64).T.copy()
        found = self._engine.run({bank.IMAGES: images, bank.IMAGE: asked[0], bank.TASK: asked[1]})
        features = outputs.take(found, bank.FEATURES, len(places), len(self._heads[0].weight))
        return heads.apply(self._heads, features[[places[pair] for pair in pairs]], task)

    def close(self) -> None:
        """Release the engine."""
        self._engine.close()


def _rows(adapters: Sequence[Adapter]) -> tuple[list[Adapter], npt.NDArray[np.int64]]:
    """Return the rows of a bank, and each task's row in it; tasks that are a head only share one of zeros."""
    rows: list[Adapter] = []
    places: dict[int, int] = {}
    for place, adapter in enumerate(adapters):
        first = next((p for p in places if not adapters[p].task.adapter.rank), None)
        if adapter.task.adapter.rank or first is None:
            places[place] = len(rows)
            rows.append(adapter)
        else:
            places[place] = places[first]
    return rows, np.array([places[place] for place in range(len(adapters))], dtype=np.int64)
