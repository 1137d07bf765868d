"""A session over the shared graph: one engine for every task, each in a slot of its bank."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from adaptertune_deploy.core import bank, heads
from adaptertune_deploy.core.adapter import Adapter
from adaptertune_deploy.core.heads import Head
from adaptertune_deploy.core.spec import BackboneSpec, PreprocessSpec, TaskSpec
from adaptertune_deploy.core.tensors import Array
from adaptertune_deploy.engines.bank import SlotBank
from adaptertune_deploy.engines.engine import Engine
from adaptertune_deploy.engines.engine_facts import facts_of
from adaptertune_deploy.engines.handle import Handle


class SharedSession:
    """Answers rows of any mixture of tasks in one engine run; see session.Session."""

    form = "shared"

    def __init__(
        self,
        engine: Engine,
        adapters: Iterable[Adapter],
        slots: Sequence[int],
        backbone: BackboneSpec,
        preprocess: PreprocessSpec,
        ranks: Iterable[int] = (),
    ) -> None:
        """Put `adapters`, in their order, into a bank of an engine that holds the shared graph.

        Args:
            engine: holds the graph.
            adapters: the tasks; each is asked for when the one before lies in the bank, so that none is held twice.
            slots: the graph's slots.
            backbone: the graph's.
            preprocess: how an image becomes its input.
            ranks: of the tasks, where they are known before: nothing has to be moved then.

        Raises:
            FormatError: a task adapts a block that the graph has no slot for.
            EngineError: no memory for the tasks.
        """
        self._bank = SlotBank(engine, slots, backbone.width, backbone.features)
        self._bank.reserve(ranks)
        self._handles: list[Handle] = []
        self._heads: list[Head] = []
        tasks: list[TaskSpec] = []
        for adapter in adapters:
            self._handles.append(self._bank.write(adapter))
            self._heads.append(heads.head_of(adapter))
            tasks.append(adapter.task)
        self.tasks: tuple[TaskSpec, ...] = tuple(tasks)
        self.preprocess = preprocess
        self.engine = facts_of(engine)
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
