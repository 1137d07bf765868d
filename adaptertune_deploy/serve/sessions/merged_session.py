"""A session over merged graphs: one engine per task, rows grouped by task."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from adaptertune_deploy.core.answers.stored_answer import StoredAnswer
from adaptertune_deploy.core.bundle.manifest import TaskRecord
from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.core.spec import PreprocessSpec, TaskSpec
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.engines import outputs
from adaptertune_deploy.engines.engine import Engine
from adaptertune_deploy.engines.engine_facts import EngineFacts, facts_of
from adaptertune_deploy.serve.sessions.keyed import Holder
from adaptertune_deploy.serve.sessions.opener import Opener


@dataclass(frozen=True, eq=False)
class _Held:
    """A task and the engine that holds its graph."""

    spec: TaskSpec
    digest: str
    answer: StoredAnswer | None
    engine: Engine


class MergedSession(Holder[_Held]):
    """Answers a mixed batch with one engine run per task in it; see session.Session.

    Attributes:
        engine: see session.Session; that of the first task.
    """

    form = "merged"
    engine: EngineFacts

    def __init__(self, backbone: str, preprocess: PreprocessSpec) -> None:
        """Begin with no task; the backbone's name and `preprocess` are those of all."""
        self.backbone = backbone
        self.preprocess = preprocess
        super().__init__()

    def digest(self, opener: Opener, record: TaskRecord) -> str:
        """See session.Session.digest: that of the graph."""
        return opener.merged_graph(record.task.name).sha256

    def file(self, opener: Opener, record: TaskRecord) -> str:
        """See session.Session.file."""
        return opener.merged_graph(record.task.name).file

    def load(self, opener: Opener, record: TaskRecord) -> int:
        """See session.Session.load."""
        graph = opener.merged_graph(record.task.name)
        return self.put(opener.open(graph), record.task, graph.sha256, opener.answer(record))

    def put(self, engine: Engine, task: TaskSpec, digest: str = "", answer: StoredAnswer | None = None) -> int:
        """Take an engine that holds a task's merged graph, which is closed with the task, and return the task's key."""
        if not hasattr(self, "engine"):
            self.engine = facts_of(engine)
        return self._held.add(_Held(task, digest, answer, engine))

    def unload(self, key: int) -> None:
        """See session.Session.unload."""
        self._held.pop(key).engine.close()

    def run(self, images: Array, image: npt.NDArray[np.int64], task: npt.NDArray[np.int64]) -> list[Array]:
        """See session.Session.run."""
        held = self._held.asked(len(images), image, task)
        rows: list[Array | None] = [None] * len(task)
        for key in np.unique(task).tolist():
            places = np.flatnonzero(task == key)
            chosen = _gather(images, image[places])
            logits = outputs.run_merged(held[key].engine, chosen, len(held[key].spec.labels))
            for place, row in zip(places.tolist(), logits, strict=True):
                rows[place] = row
        return [row for row in rows if row is not None]

    def features(self, images: Array, image: npt.NDArray[np.int64], task: npt.NDArray[np.int64]) -> Array:
        """Raise UsageError: a merged graph gives logits only."""
        raise UsageError("a merged graph gives no features, only logits; take --form shared")

    def close(self) -> None:
        """Release the engines."""
        for held in self._held.items.values():
            held.engine.close()


def _gather(images: Array, chosen: npt.NDArray[np.int64]) -> Array:
    """Return images[chosen], without a copy when that is all of them in order."""
    if len(chosen) == len(images) and np.array_equal(chosen, np.arange(len(images))):
        return images
    return images[chosen]
