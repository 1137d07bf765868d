"""A session over the shared graph: one engine for every task, each in a slot of its bank."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from adaptertune_deploy.core.adapter import heads
from adaptertune_deploy.core.adapter.folder import Adapter
from adaptertune_deploy.core.adapter.heads import Head
from adaptertune_deploy.core.answers.stored_answer import StoredAnswer
from adaptertune_deploy.core.bundle.manifest import TaskRecord
from adaptertune_deploy.core.spec import BackboneSpec, PreprocessSpec, TaskSpec
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.engines.bank.bank import SlotBank
from adaptertune_deploy.engines.bank.handle import Handle
from adaptertune_deploy.engines.engine import Engine
from adaptertune_deploy.engines.engine_facts import facts_of
from adaptertune_deploy.serve.sessions.keyed import Holder
from adaptertune_deploy.serve.sessions.opener import Opener


@dataclass(frozen=True, eq=False)
class _Held:
    """A task, where it lies in the bank, and its head."""

    spec: TaskSpec
    digest: str
    answer: StoredAnswer | None
    handle: Handle
    head: Head


class SharedSession(Holder[_Held]):
    """Answers rows of any mixture of tasks in one engine run; see session.Session."""

    form = "shared"

    def __init__(
        self,
        engine: Engine,
        slots: Sequence[int],
        backbone: BackboneSpec,
        preprocess: PreprocessSpec,
        ranks: Iterable[int] = (),
    ) -> None:
        """Take an engine that holds the shared graph, with no task yet.

        Args:
            engine: holds the graph; closed with the session.
            slots: the graph's slots.
            backbone: the graph's.
            preprocess: how an image becomes its input.
            ranks: of the tasks that come, where they are known before: nothing has to be moved then.

        Raises:
            EngineError: no memory for the tasks.
        """
        self._bank = SlotBank(engine, slots, backbone.width, backbone.features)
        self._bank.reserve(ranks)
        super().__init__()
        self.backbone = backbone.name
        self.preprocess = preprocess
        self.engine = facts_of(engine)
        self._engine = engine

    def digest(self, opener: Opener, record: TaskRecord) -> str:
        """See session.Session.digest: that of the tensor file."""
        return record.sha256

    def file(self, opener: Opener, record: TaskRecord) -> str:
        """See session.Session.file."""
        return record.file

    def load(self, opener: Opener, record: TaskRecord) -> int:
        """See session.Session.load."""
        return self.put(opener.read(record), self.digest(opener, record), opener.answer(record))

    def put(self, adapter: Adapter, digest: str = "", answer: StoredAnswer | None = None) -> int:
        """Write a task into a slot that nobody reads, and return its key.

        Args:
            adapter: the task.
            digest: SHA-256 of the file that holds it; "" where there is none.
            answer: what it is known to answer, where that is known.

        Raises:
            FormatError: the task adapts a block that the graph has no slot for, or overflows float32.
            EngineError: no memory for it, or a larger rank or more tasks than the engine takes.
        """
        head = heads.head_of(adapter)
        return self._held.add(_Held(adapter.task, digest, answer, self._bank.write(adapter), head))

    def unload(self, key: int) -> None:
        """See session.Session.unload."""
        self._bank.remove(self._held.pop(key).handle)

    def run(self, images: Array, image: npt.NDArray[np.int64], task: npt.NDArray[np.int64]) -> list[Array]:
        """See session.Session.run; an image runs once for all tasks that are a head only."""
        held = self._held.asked(len(images), image, task)
        features = self._features(images, image, task, held)
        return heads.apply({key: entry.head for key, entry in held.items()}, features, task)

    def features(self, images: Array, image: npt.NDArray[np.int64], task: npt.NDArray[np.int64]) -> Array:
        """See session.Session.features."""
        return self._features(images, image, task, self._held.asked(len(images), image, task))

    def close(self) -> None:
        """Release the engine."""
        self._engine.close()

    def _features(
        self, images: Array, image: npt.NDArray[np.int64], task: npt.NDArray[np.int64], held: Mapping[int, _Held]
    ) -> Array:
        return self._bank.features(images, image, [held[key].handle for key in task.tolist()])
