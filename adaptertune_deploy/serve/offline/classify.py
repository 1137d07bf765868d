"""Answers without a server, by the code that serves: same preprocessing, same session, same answers."""

from __future__ import annotations

from collections.abc import Sequence

from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.serve.answers import Answer, answer
from adaptertune_deploy.serve.offline.batches import AnyImage, batches, keys
from adaptertune_deploy.serve.sessions.logits import check_finite
from adaptertune_deploy.serve.sessions.session import Session


def classify(
    session: Session,
    images: Sequence[AnyImage],
    tasks: Sequence[str] | None = None,
    top_k: int = 5,
    names: Sequence[str] | None = None,
    max_batch: int = 8,
) -> list[Answer]:
    """Answer images.

    Args:
        session: see session.open_session.
        images: encoded, as files hold them, or in memory.
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
    answers: list[Answer] = []
    held = session.tasks
    for batch in batches(session, images, keys(session, tasks), names, max_batch):
        logits = session.run(batch.pixels, batch.image, batch.task)
        for image, task, row in zip(batch.image.tolist(), batch.task.tolist(), logits, strict=True):
            spec = held[task]
            check_finite(spec, row)
            answers.append(answer(batch.start + image, spec, row, top_k))
    return answers
