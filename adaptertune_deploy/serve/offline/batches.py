"""Images and names of tasks -> batches for a session, without a server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from adaptertune_deploy.core.errors import ImageError, UsageError, did_you_mean
from adaptertune_deploy.core.images import preprocess
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.serve.sessions.session import Session

# As a file holds it, or decoded.
AnyImage: TypeAlias = "bytes | Image.Image"


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows of one run, image by image, and for each image task by task.

    start: place of the first image among all.
    pixels: float32 [N, 3, H, W].
    image, task: int64 [B], see sessions.session.Session.run.
    """

    start: int
    pixels: Array
    image: npt.NDArray[np.int64]
    task: npt.NDArray[np.int64]


def batches(
    session: Session, images: Sequence[AnyImage], chosen: Sequence[int], names: Sequence[str] | None, max_batch: int
) -> Iterator[Batch]:
    """Decode images and yield them in batches, each asked about for the same tasks.

    Args:
        session: which runs them.
        images: encoded or in memory.
        chosen: keys of tasks in the session.
        names: what messages call the images; None for "image 1 of 3".
        max_batch: rows of a batch, unless one image has more.

    Raises:
        ImageError: an image that can't be decoded.
    """
    called = names or [f"image {place + 1} of {len(images)}" for place in range(len(images))]
    step = max(1, max_batch // len(chosen))
    for start in range(0, len(images), step):
        part = range(start, min(start + step, len(images)))
        yield Batch(
            start,
            np.stack([_load(session, images[place], called[place]) for place in part]),
            np.repeat(np.arange(len(part), dtype=np.int64), len(chosen)),
            np.tile(np.array(chosen, dtype=np.int64), len(part)),
        )


def keys(session: Session, tasks: Sequence[str] | None) -> list[int]:
    """Return the keys in a session of the tasks with these names, of all for None.

    Raises:
        UsageError: no name, an unknown one, or one twice.
    """
    known = {task.name: key for key, task in session.tasks.items()}
    if tasks is None:
        return list(known.values())
    for name in tasks:
        if name not in known:
            raise UsageError(f"no task '{name}', only {', '.join(known)}.{did_you_mean(name, known)}")
    if len(set(tasks)) != len(tasks):
        raise UsageError(f"a task is named twice in {','.join(tasks)}; name each once")
    if not tasks:
        raise UsageError(f"no task was named; name one or more of {', '.join(known)}")
    return [known[name] for name in tasks]


def _load(session: Session, image: AnyImage, name: str) -> Array:
    spec = session.preprocess
    try:
        if isinstance(image, bytes):
            return preprocess.preprocess(image, spec)
        return preprocess.transform(preprocess.rgb(image, spec.orientation), spec)
    except ImageError as error:
        raise ImageError(f"{name}: {error}", error.status) from None
    except (OSError, ValueError) as error:  # a file that Pillow opened and reads only now, or closed; odd modes
        raise ImageError(f"{name}: {error}") from None
