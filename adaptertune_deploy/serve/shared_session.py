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
from adaptertune_deploy.serve.logits import take_logits


class SharedSession:
    """Answers rows of any mixture of tasks in one engine run; see session.Session."""

    form = "shared"

    def __init__(
        self, engine: Engine, adapters: Sequence[Adapter], slots: Sequence[int], preprocess: PreprocessSpec
    ) -> None:
        """Bind the bank of `adapters`, in their order, to an engine that holds the shared graph.

        Raises:
            FormatError: a task adapts a block that the graph has no slot for.
            EngineError: the graph does not take this bank.
        """
        engine.bind(bank.stack(adapters, slots))
        self.tasks: tuple[TaskSpec, ...] = tuple(adapter.task for adapter in adapters)
        self.preprocess = preprocess
        self.provider = engine.provider
        self._engine = engine
        self._classes = [len(task.labels) for task in self.tasks]

    def run(self, images: Array, image: npt.NDArray[np.int64], task: npt.NDArray[np.int64]) -> list[Array]:
        """See session.Session.run."""
        bank.check_rows(len(images), image, task, len(self.tasks))
        outputs = self._engine.run({bank.IMAGES: images, bank.IMAGE: image, bank.TASK: task})
        logits = take_logits(outputs, len(task), max(self._classes))
        return [row[: self._classes[index]] for row, index in zip(logits, task.tolist(), strict=True)]

    def close(self) -> None:
        """Release the engine."""
        self._engine.close()
