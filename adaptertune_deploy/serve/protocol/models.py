"""The models of a server: each task under its own name takes encoded images, and under another prepared pixels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from adaptertune_deploy.core.spec import TENSOR_SUFFIX, PreprocessSpec
from adaptertune_deploy.serve.settings import Settings
from adaptertune_deploy.serve.tasks.served_task import ServedTask

FP32, BYTES = "FP32", "BYTES"
FP32_BYTES = 4
ENVELOPE = 1024  # bytes that a request needs around its tensor


@dataclass(frozen=True)
class Model:
    """One way to ask a task.

    name: what clients call it.
    task: which answers; its version is the model's.
    input, output: names of its one input and its one output, which is FP32 [-1, classes].
    datatype: of the input: BYTES for encoded images, FP32 for pixels as the preprocessing gives them.
    dims: shape of one element of the input, without the batch.
    """

    name: str
    task: ServedTask
    input: str
    output: str
    datatype: str
    dims: tuple[int, ...]

    @property
    def version(self) -> str:
        """The version, as clients give and get it."""
        return str(self.task.version)

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the classes, in the order of the logits."""
        return self.task.spec.labels

    @property
    def values(self) -> int:
        """Values of one element of the input."""
        return math.prod(self.dims)

    def largest_batch(self, settings: Settings) -> int:
        """Return how many elements a request may have: no more than its rows, and than its body holds."""
        if self.datatype == BYTES:
            return settings.largest_request
        return max(1, min(settings.largest_request, (settings.body_limit - ENVELOPE) // (self.values * FP32_BYTES)))


def image_model(task: ServedTask) -> Model:
    """Return the model that takes encoded images, under the task's name."""
    return Model(task.name, task, "image", "logits", BYTES, (1,))


def tensor_model(task: ServedTask, preprocess: PreprocessSpec) -> Model:
    """Return the model that takes pixels, float32 [-1, 3, H, W] after preprocessing, under the name `TASK__tensor`."""
    return Model(f"{task.name}{TENSOR_SUFFIX}", task, "images", "logits", FP32, (3, *preprocess.size))


def all_models(tasks: Iterable[ServedTask], preprocess: PreprocessSpec) -> Iterator[Model]:
    """Yield both models of every task."""
    for task in tasks:
        yield image_model(task)
        yield tensor_model(task, preprocess)


def task_of(name: str) -> str:
    """Return the name of the task that a model of this name asks; whether there is such a task is not said."""
    return name.removesuffix(TENSOR_SUFFIX)


def model_of(name: str, task: ServedTask, preprocess: PreprocessSpec) -> Model:
    """Return the model of this name; `task` is the one that task_of names."""
    return image_model(task) if name == task.name else tensor_model(task, preprocess)
