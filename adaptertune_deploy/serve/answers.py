"""Logits to answers: softmax and the best labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from adaptertune_deploy.core.spec import TaskSpec
from adaptertune_deploy.core.storage.tensors import Array


@dataclass(frozen=True)
class Label:
    """One class of an answer: its name, its index among the task's labels, its probability in 0..1."""

    label: str
    index: int
    probability: float


@dataclass(frozen=True)
class Answer:
    """What one task says about one image.

    image: the image's place in the request.
    task: the task's name.
    top: the best labels, most probable first.
    """

    image: int
    task: str
    top: tuple[Label, ...]


def softmax(logits: Array) -> npt.NDArray[np.float64]:
    """Return probabilities [C] of logits [C], computed in float64."""
    shifted = np.exp(logits.astype(np.float64) - float(logits.max()))
    probabilities: npt.NDArray[np.float64] = shifted / shifted.sum()
    return probabilities


def best(logits: Array, count: int) -> list[int]:
    """Return the indices of the `count` largest logits, largest first; of equal ones the lowest index first."""
    return [int(index) for index in np.argsort(-logits, kind="stable")[:count]]


def answer(image: int, task: TaskSpec, logits: Array, top_k: int) -> Answer:
    """Turn a row of logits [C] into the `top_k` best labels, or all of them where the task has fewer."""
    probabilities = softmax(logits)
    labels = (Label(task.labels[index], index, float(probabilities[index])) for index in best(logits, top_k))
    return Answer(image, task.name, tuple(labels))
