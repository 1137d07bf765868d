"""The place of one training, which two at once would take from each other: kept states, log and artefact."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.core.storage import files


@contextmanager
def claimed(out: Path, task: str) -> Iterator[None]:
    """Hold the place of a training of a task until the block ends; the system frees that of a process that is killed.

    Args:
        out: folder that holds the adapter folders; made, and removed again where nothing came of it.
        task: name of the task.

    Raises:
        UsageError: another training of this task holds it.
    """
    made = [place for place in (out, *out.parents) if not place.exists()]
    out.mkdir(parents=True, exist_ok=True)
    try:
        with ExitStack() as held:
            try:
                held.enter_context(files.locked(_lock(out, task), wait=False))
            except BlockingIOError:
                raise UsageError(
                    f"task '{task}' is being trained into {out} by another process; wait for it, or give another --out "
                    "or --task"
                ) from None
            yield
    finally:
        with contextlib.suppress(OSError):  # something lies in it
            for place in made:
                place.rmdir()


def check_unclaimed(out: Path, task: str) -> None:
    """Raise UsageError where a training of a task holds its place; see claimed."""
    if _lock(out, task).exists():
        with claimed(out, task):
            return


def _lock(out: Path, task: str) -> Path:
    return out / f".{task}.training"
