"""Answers without a server, by the code that serves: same preprocessing, same session, same answers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from adaptertune_deploy.core import preprocess
from adaptertune_deploy.core.errors import ImageError, UsageError, did_you_mean
from adaptertune_deploy.serve.answers import Answer, answer
from adaptertune_deploy.serve.logits import check_finite
from adaptertune_deploy.serve.session import Session


def classify(
    session: Session,
    images: Sequence[bytes],
    tasks: Sequence[str] | None = None,
    top_k: int = 5,
    names: Sequence[str] | None = None,
    max_batch: int = 8,
) -> list[Answer]:
    """Answer encoded images.

    Args:
        session: see session.open_session.
        images: encoded images, as files hold them.
        tasks: which of the session's tasks; None for all.
        top_k: labels per answer.
        names: what messages call the images; None for "image 1 of 3".
        max_batch: rows of one engine run.

    Returns:
        One answer per image and task, image by image.

    Raises:
        UsageError: an unknown task, or no label asked for.
        ImageError: an image that can't be decoded.
        EngineError: the engine failed or gave NaN.
    """
    if top_k < 1:
        raise UsageError(f"top_k is {top_k}, expected at least 1")
    chosen = _indices(session, tasks)
    called = names or [f"image {place + 1} of {len(images)}" for place in range(len(images))]
    step = max(1, max_batch // len(chosen))
    answers: list[Answer] = []
    for start in range(0, len(images), step):
        part = range(start, min(start + step, len(images)))
        pixels = np.stack([_load(session, images[place], called[place]) for place in part])
        image = np.repeat(np.arange(len(part), dtype=np.int64), len(chosen))
        task = np.tile(np.array(chosen, dtype=np.int64), len(part))
        for row, logits in enumerate(session.run(pixels, image, task)):
            spec = session.tasks[task[row]]
            check_finite(spec, logits)
            answers.append(answer(start + int(image[row]), spec, logits, top_k))
    return answers


def _indices(session: Session, tasks: Sequence[str] | None) -> list[int]:
    known = [task.name for task in session.tasks]
    if tasks is None:
        return list(range(len(known)))
    for name in tasks:
        if name not in known:
            raise UsageError(f"no task '{name}', only {', '.join(known)}.{did_you_mean(name, known)}")
    if len(set(tasks)) != len(tasks):
        raise UsageError(f"a task is named twice in {','.join(tasks)}; name each once")
    if not tasks:
        raise UsageError(f"no task was named; name one or more of {', '.join(known)}")
    return [known.index(name) for name in tasks]


def _load(session: Session, data: bytes, name: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    try:
        return preprocess.preprocess(data, session.preprocess)
    except ImageError as error:
        raise ImageError(f"{name}: {error}", error.status) from None
