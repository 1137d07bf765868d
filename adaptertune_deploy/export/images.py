"""The real images that graphs are verified on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from adaptertune_deploy.core.adapter import samples
from adaptertune_deploy.core.adapter.samples import SampleRecord
from adaptertune_deploy.core.errors import ExportError, ImageError
from adaptertune_deploy.core.spec import PreprocessSpec

if TYPE_CHECKING:
    from adaptertune_deploy.core.storage.tensors import Array

MAX_SAMPLES = 32
MAX_GIVEN = 512  # they are held in memory: 300 MB at 224x224
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif")


def find_images(
    adapters: Sequence[tuple[Path, Sequence[SampleRecord]]], folder: Path | None = None
) -> tuple[Path, ...]:
    """Return image files to verify on: at most MAX_SAMPLES of training's samples, or MAX_GIVEN of a folder.

    Where there are more, they are taken at even distances.

    Args:
        adapters: adapter folders with the held-back images that their configs name, of which every task gives its
            share. Those that may not travel with the adapter are found on the machine that trained it.
        folder: a folder to search at any depth instead.

    Raises:
        ExportError: no image there.
    """
    if folder is not None:
        if not folder.is_dir():
            raise ExportError(f"{folder}: no such folder of images; give one with --images DIR")
        found = spread(images_below(folder), MAX_GIVEN)
        if not found:
            raise ExportError(
                f"{folder}: holds no image ({', '.join(SUFFIXES)}); give another folder with --images DIR"
            )
        return found
    sources = [tuple(path for _, path in samples.find(adapter, records)) for adapter, records in adapters]
    taken: list[Path] = []
    waiting = sorted((source for source in sources if source), key=len)
    for left, source in zip(range(len(waiting), 0, -1), waiting, strict=True):
        taken += spread(source, max(1, (MAX_SAMPLES - len(taken)) // left))
    if not taken:
        raise ExportError(
            f"{adapters[0][0]}: the images that training held back are neither in {samples.SAMPLES_NAME}/ nor on this "
            "machine; give real images to verify the graphs on: --images DIR"
        )
    return tuple(taken[:MAX_SAMPLES])


def read_images(paths: Sequence[Path], spec: PreprocessSpec, purpose: str = "verify on") -> Array:
    """Return the images as model input, float32 [N, 3, H, W]; `purpose` says what for, in messages.

    Raises:
        ExportError: a file that can't be read or is no image.
    """
    import numpy as np

    from adaptertune_deploy.core.images.image_file import read_image
    from adaptertune_deploy.core.images.preprocess import MAX_OFFLINE_PIXELS, preprocess

    rows = []
    for path in paths:
        try:
            rows.append(preprocess(read_image(path), spec, MAX_OFFLINE_PIXELS))
        except (OSError, ImageError) as error:
            raise ExportError(f"{path}: no image to {purpose} ({error}); remove it or give other images") from None
    return np.stack(rows)


def images_below(folder: Path) -> tuple[Path, ...]:
    """Return the image files of a folder at any depth, sorted."""
    return tuple(sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()))


def spread(paths: Sequence[Path], count: int) -> tuple[Path, ...]:
    """Return `count` of the paths at even distances, or all of them when there are fewer."""
    count = min(count, len(paths))
    return tuple(paths[index * len(paths) // count] for index in range(count))
