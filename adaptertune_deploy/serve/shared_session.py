"""A session over the shared graph: one engine for every task, the bank bound to it once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from adaptertune_deploy.core import bank
from adaptertune_deploy.core.adapter import Adapter
from adaptertune_deploy.core.spec import PreprocessSpec, TaskSpec
from adaptertune_deploy.core.tensors import Array
from adaptertune_deploy.engines.engine import Engine
from adaptertune_deploy.serve.joined_heads import join
from adaptertune_deploy.serve.logits import take_logits


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
        rows, self._places = join(adapters)
        engine.bind(bank.stack(rows, slots, width))
        self.tasks: tuple[TaskSpec, ...] = tuple(adapter.task for adapter in adapters)
        self.preprocess = preprocess
        self.provider = engine.provider
        self._engine = engine
        self._widest = max(len(row.task.labels) for row in rows)

    def run(self, images: Array, image: npt.NDArray[np.int64], task: npt.NDArray[np.int64]) -> list[Array]:
        """See session.Session.run; heads that lie in one row of the bank run once an image."""
        bank.check_rows(len(images), image, task, len(self.tasks))
        asked, place = np.stack([image, self._places.row[task]]), np.arange(len(task))
        if self._places.joined:
            asked, place = np.unique(asked, axis=1, return_inverse=True)
        asked = np.ascontiguousarray(asked)
        outputs = self._engine.run({bank.IMAGES: images, bank.IMAGE: asked[0], bank.TASK: asked[1]})
        logits = take_logits(outputs, asked.shape[1], self._widest)
        columns = self._places.columns
        return [logits[row, columns[index]] for row, index in zip(place.reshape(-1), task.tolist(), strict=True)]

    def close(self) -> None:
        """Release the engine."""
        self._engine.close()
