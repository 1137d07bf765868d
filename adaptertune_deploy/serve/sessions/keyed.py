"""Values under keys that are never given twice, so that who holds an old key gets an error and nothing of another."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Mapping
from typing import Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.core.answers.stored_answer import StoredAnswer
from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.core.spec import TaskSpec

Value = TypeVar("Value")


class Keyed(Generic[Value]):
    """A mapping that is replaced as a whole: one thread changes it while others read the one that they have.

    Attributes:
        items: key -> value.
    """

    def __init__(self) -> None:
        """Begin empty."""
        self.items: Mapping[int, Value] = {}
        self._keys = itertools.count()
        self._lock = threading.Lock()

    def add(self, value: Value) -> int:
        """Put a value in and return its key: 0 for the first, then 1, and so on."""
        with self._lock:
            key = next(self._keys)
            self.items = {**self.items, key: value}
        return key

    def pop(self, key: int) -> Value:
        """Take a value out.

        Raises:
            EngineError: no such key.
        """
        with self._lock:
            if key not in self.items:
                raise EngineError(f"the session holds no task {key}")
            value = self.items[key]
            self.items = {other: held for other, held in self.items.items() if other != key}
        return value

    def asked(self, images: int, image: npt.NDArray[np.int64], task: npt.NDArray[np.int64]) -> Mapping[int, Value]:
        """Return the values that rows ask for.

        Args:
            images: number of images of the run.
            image: int64 [B], which image each row asks about.
            task: int64 [B], each row's key.

        Raises:
            EngineError: a row names an image or a key that is not there.
        """
        items = self.items
        bank.check_rows(images, image, task, max(items, default=-1) + 1)
        missing = set(task.tolist()) - items.keys()
        if missing:
            raise EngineError(f"the session holds no task {min(missing)}")
        return {key: items[key] for key in set(task.tolist())}


class Held(Protocol):
    """What a session keeps of a task besides what runs it."""

    @property
    def spec(self) -> TaskSpec:
        """The task."""

    @property
    def digest(self) -> str:
        """SHA-256 of the file that holds it."""

    @property
    def answer(self) -> StoredAnswer | None:
        """What it is known to answer, where that is known."""


HeldTask = TypeVar("HeldTask", bound=Held)


class Holder(Generic[HeldTask]):
    """The part of a session that says which tasks it holds; see session.Session."""

    def __init__(self) -> None:
        """Begin with no task."""
        self._held: Keyed[HeldTask] = Keyed()

    @property
    def tasks(self) -> Mapping[int, TaskSpec]:
        """See session.Session."""
        return {key: held.spec for key, held in self._held.items.items()}

    @property
    def digests(self) -> Mapping[int, str]:
        """See session.Session."""
        return {key: held.digest for key, held in self._held.items.items()}

    @property
    def answers(self) -> Mapping[int, StoredAnswer]:
        """See session.Session."""
        return {key: held.answer for key, held in self._held.items.items() if held.answer is not None}
