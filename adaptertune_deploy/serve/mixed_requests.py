"""Requests that a batching server hands over together, each a few images and tasks, answered by one engine run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np

from adaptertune_deploy.core.errors import AtdError, RequestError, did_you_mean
from adaptertune_deploy.core.images import preprocess
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.serve.answers import best, softmax
from adaptertune_deploy.serve.sessions.logits import check_finite
from adaptertune_deploy.serve.sessions.session import Session

DECODERS = 4  # threads
Result = TypeVar("Result")
Row = tuple[bytes, int]  # an image, and its task's key in the session
Decoded = dict[bytes, Future[Array]]


@dataclass(frozen=True)
class Asked:
    """One request of B rows. images: encoded, as files hold them. tasks: a name for each."""

    images: tuple[bytes, ...]
    tasks: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.images) != len(self.tasks):
            raise RequestError(f"{len(self.images)} images and {len(self.tasks)} tasks, expected one task an image")


@dataclass(frozen=True, eq=False)
class Answered:
    """What one request gets.

    logits: float32 [B, C], C the most labels among its tasks; the rows of others end in -inf, which a softmax takes
        for probability 0.
    labels: the best one of each row.
    probabilities: float32 [B], of those.
    """

    logits: Array
    labels: tuple[str, ...]
    probabilities: Array


class MixedRequests:
    """Answers requests over one session; an image that several rows ask about is decoded and copied once.

    Args:
        session: see session.open_session; `close` closes it.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._tasks = session.tasks
        self._keys = {task.name: key for key, task in self._tasks.items()}
        self._threads = ThreadPoolExecutor(DECODERS, thread_name_prefix="decode")

    def answer(self, requests: Sequence[Asked]) -> list[Answered | AtdError]:
        """Return for each request its answer, or what is wrong with it; a bad request spoils no other one."""
        decoded: Decoded = {}
        for asked in requests:
            for image in asked.images:
                if image not in decoded:
                    decoded[image] = self._threads.submit(preprocess.preprocess, image, self._session.preprocess)
        prepared = [_tried(partial(self._rows, asked, decoded)) for asked in requests]
        rows = [row for found in prepared if not isinstance(found, AtdError) for row in found]
        answers = _tried(partial(self._run, rows, decoded)) if rows else []
        if isinstance(answers, AtdError):
            return [found if isinstance(found, AtdError) else answers for found in prepared]
        left = iter(zip(rows, answers, strict=True))
        return [
            found if isinstance(found, AtdError) else _tried(partial(self._answered, own))
            for found in prepared
            for own in [[] if isinstance(found, AtdError) else [next(left) for _ in found]]
        ]

    def close(self) -> None:
        """Release the session and the threads."""
        self._threads.shutdown(wait=True)
        self._session.close()

    def _rows(self, asked: Asked, decoded: Decoded) -> list[Row]:
        """Return a request's rows, whose images are decoded.

        Raises:
            RequestError: an unknown task.
            ImageError: bytes that are no acceptable image.
        """
        for name in asked.tasks:
            if name not in self._keys:
                known = ", ".join(self._keys)
                raise RequestError(f"no task '{name:.80}', only {known}.{did_you_mean(name, self._keys)}", 404)
        for image in asked.images:
            decoded[image].result()
        return [(image, self._keys[name]) for image, name in zip(asked.images, asked.tasks, strict=True)]

    def _run(self, rows: Sequence[Row], decoded: Decoded) -> list[Array]:
        """Return each row's logits."""
        place = {image: number for number, image in enumerate(dict.fromkeys(image for image, _ in rows))}
        pixels = np.stack([decoded[image].result() for image in place])
        image = np.array([place[image] for image, _ in rows], dtype=np.int64)
        return self._session.run(pixels, image, np.array([task for _, task in rows], dtype=np.int64))

    def _answered(self, own: Sequence[tuple[Row, Array]]) -> Answered:
        widest = max((len(row) for _, row in own), default=0)
        logits = np.full((len(own), widest), -np.inf, dtype=np.float32)
        labels, probabilities = [], np.empty(len(own), dtype=np.float32)
        for number, ((_, key), row) in enumerate(own):
            task = self._tasks[key]
            check_finite(task, row)
            logits[number, : len(row)] = row
            (first,) = best(row, 1)
            labels.append(task.labels[first])
            probabilities[number] = softmax(row)[first]
        return Answered(logits, tuple(labels), probabilities)


def _tried(work: Callable[[], Result]) -> Result | AtdError:
    """Return what some work returns, or the error that a user caused.

    The error refers to no frame any more: among them is the caller's, which holds the requests of its server. Triton's
    stay in memory with it, and its process dies of those that it finds at its end.
    """
    try:
        return work()
    except AtdError as error:
        error.__context__ = error.__cause__ = None
        return error.with_traceback(None)
