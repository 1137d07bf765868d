"""A session over the shared graph: one engine for every task, the bank bound to it once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from adaptertune_deploy.core import bank, heads
from adaptertune_deploy.core.adapter import Adapter
from adaptertune_deploy.core.spec import PreprocessSpec, TaskSpec
from adaptertune_deploy.core.tensors import Array
from adaptertune_deploy.engines.bank import SlotBank
from adaptertune_deploy.engines.engine import Engine


class SharedSession:
    """Answers rows of any mixture of tasks in one engine run; see session.Session."""

    form = "shared"

    def __init__(
        self, engine: Engine, adapters: Sequence[Adapter], slots: Sequence[int], width: int, preprocess: PreprocessSpec
    ) -> None:
        """Put `adapters`, in their order, into a bank of an engine that holds the shared graph.

        Args:
            engine: holds the graph.
            adapters: the tasks.
            slots: the graph's slots.
            width: D, channels of the backbone's tokens.
            preprocess: how an image becomes its input.

        Raises:
            FormatError: a task adapts a block that the graph has no slot for.
            EngineError: no memory for the tasks.
        """
        self._heads = [heads.head_of(adapter) for adapter in adapters]
        self._bank = SlotBank(engine, slots, width, len(self._heads[0].weight))
        self._bank.reserve(adapter.task.adapter.rank for adapter in adapters)
        self._handles = [self._bank.write(adapter) for adapter in adapters]
        self.tasks: tuple[TaskSpec, ...] = tuple(adapter.task for adapter in adapters)
        self.preprocess = preprocess
        self.provider = engine.provider
        self._engine = engine

    def run(self, images: Array, image: npt.NDArray[np.int64], task: npt.NDArray[np.int64]) -> list[Array]:
        """See session.Session.run; an image runs once for all tasks that are a head only."""
        return heads.apply(self._heads, self.features(images, image, task), task)

    def features(self, images: Array, image: npt.NDArray[np.int64], task: npt.NDArray[np.int64]) -> Array:
        """See session.Session.features."""
        bank.check_rows(len(images), image, task, len(self.tasks))
        return self._bank.features(images, image, [self._handles[index] for index in task.tolist()])

    def close(self) -> None:
        """Release the engine."""
        self._engine.close()
