"""Features of images without a server: what a task's head is given, for search, clustering or a head of one's own."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from adaptertune_deploy.core.errors import EngineError, UsageError
from adaptertune_deploy.core.storage import files
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.serve.offline.batches import AnyImage, batches, keys
from adaptertune_deploy.serve.sessions.session import Session

SUFFIXES = (".npy", ".npz")
FILES = "files"  # no task's name: that is checked when features are written


def embed(
    session: Session,
    images: Sequence[AnyImage],
    tasks: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    max_batch: int = 8,
) -> dict[str, Array]:
    """Return the features of images.

    Args:
        session: see session.open_session; of the shared form.
        images: encoded, as files hold them, or in memory; at least one.
        tasks: which of the session's tasks; None for all.
        names: what messages call the images; None for "image 1 of 3".
        max_batch: rows of one engine run.

    Returns:
        Task -> float32 [images, F]; the backbone's own features for a task that is a head only.

    Raises:
        UsageError: an unknown task, or a session of merged graphs.
        ImageError: an image that can't be decoded.
        EngineError: the engine failed or gave NaN.
    """
    chosen = keys(session, tasks)
    parts = [
        session.features(batch.pixels, batch.image, batch.task)
        for batch in batches(session, images, chosen, names, max_batch)
    ]
    features = np.concatenate(parts).reshape(len(images), len(chosen), -1)
    if not np.isfinite(features).all():
        raise EngineError("the graph gave features that are NaN or infinite; they are withheld")
    held = session.tasks
    return {held[task].name: features[:, place].copy() for place, task in enumerate(chosen)}


def check_file(path: Path, tasks: Sequence[str]) -> None:
    """Refuse a file that features of these tasks can't be written to, before they are computed.

    Raises:
        UsageError: another suffix than .npy or .npz, several tasks for .npy, which holds one array, or a place that
            can't be written.
    """
    files.check_writable(path.parent, "--out")
    if path.suffix not in SUFFIXES:
        raise UsageError(f"--out {path}: expected a name that ends with .npy or .npz")
    if path.suffix == ".npy" and len(tasks) != 1:
        raise UsageError(
            f"--out {path}: .npy holds the features of one task, and {len(tasks)} were asked; write .npz, or name one "
            "with --adapters"
        )
    if path.suffix == ".npz" and FILES in tasks:
        raise UsageError(f"--out {path}: the array '{FILES}' names the images, and a task has that name; write .npy")


def write(path: Path, features: Mapping[str, Array], names: Sequence[str]) -> None:
    """Write features for numpy.load: .npy is the one task's array, .npz one array a task and the images' `files`.

    Args:
        path: see check_file.
        features: what embed returned.
        names: of the images, in the same order.
    """
    stream = io.BytesIO()
    if path.suffix == ".npy":
        np.save(stream, next(iter(features.values())), allow_pickle=False)
    else:
        with zipfile.ZipFile(stream, "w") as archive:
            for name, array in {FILES: np.array(names), **features}.items():
                with archive.open(f"{name}.npy", "w") as member:
                    np.save(member, array, allow_pickle=False)
    files.write_bytes(path, stream.getvalue())
