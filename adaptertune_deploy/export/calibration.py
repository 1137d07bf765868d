"""The real images that tell how far a graph's values reach: never those that it is verified on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from adaptertune_deploy.core.adapter import samples
from adaptertune_deploy.core.adapter.folder import AdapterConfig
from adaptertune_deploy.core.adapter.samples import CALIBRATION_NAME
from adaptertune_deploy.core.errors import ExportError
from adaptertune_deploy.core.storage import files
from adaptertune_deploy.export.images import images_below, spread

if TYPE_CHECKING:
    from adaptertune_deploy.core.storage.tensors import Array

IMAGES = 64
FEWEST = 8
MOST_NAMED = 3
LIMIT = 1 << 28  # bytes of one file
# A photograph's pixels are like their neighbours: 0.95 and above at 224 pixels, 0.8 in the smallest thumbnails; those
# of noise are not.
ALIKE = 0.5
ADVICE = "give images like those that will be asked about: --calibration FOLDER"


@dataclass(frozen=True)
class Calibration:
    """Images to measure ranges on.

    paths: files.
    tasks: for each, the place of the task that it is asked for.
    words: what they are.
    """

    paths: tuple[Path, ...]
    tasks: tuple[int, ...]
    words: str


def find_calibration(
    adapters: Sequence[tuple[Path, AdapterConfig]], verified: Sequence[Path], folder: Path | None = None
) -> Calibration:
    """Return at most IMAGES images: those that training kept, each task its share, or those of a folder.

    Args:
        adapters: adapter folders with their configs.
        verified: the images on which graphs are verified; an image with the bytes of one of them is left out.
        folder: a folder to search at any depth instead; its images are asked for all tasks in turn.

    Raises:
        ExportError: too few images.
    """
    hashes = {_sha256(path) for path in verified}
    if folder is not None:
        return _of_folder(folder, len(adapters), hashes)
    found = [
        tuple(path for _, path in samples.find(place, config.calibration, CALIBRATION_NAME))
        for place, config in adapters
    ]
    names = [config.task.name for _, config in adapters]
    lacking = next((name for name, paths in zip(names, found, strict=True) if not paths), None)
    if lacking is not None:
        raise ExportError(
            f"task '{lacking}': the images that its training kept for calibration are neither in its folder nor on "
            f"this machine, or an older release trained it; {ADVICE}"
        )
    share = max(1, IMAGES // len(found))
    pairs = [(path, task) for task, paths in enumerate(found) for path in spread(paths, share)]
    pairs = [(path, task) for path, task in pairs if _sha256(path) not in hashes]
    pairs = pairs[:: max(1, -(-len(pairs) // IMAGES))]
    told = ", ".join(names[:MOST_NAMED]) + (f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else "")
    return _made([path for path, _ in pairs], [task for _, task in pairs], f"images that {told} learned from")


def check_photographs(images: Array) -> None:
    """Raise ExportError where most images are noise or blank: ranges of those say nothing about photographs.

    Args:
        images: float32 [N, 3, H, W], preprocessed.
    """
    import numpy as np

    centred = images.astype(np.float64) - images.mean(axis=(2, 3), keepdims=True)
    power = (centred[..., 1:] ** 2 + centred[..., :-1] ** 2).sum(axis=(1, 2, 3)) / 2
    likeness = (centred[..., 1:] * centred[..., :-1]).sum(axis=(1, 2, 3)) / np.maximum(power, 1e-12)
    odd = int((likeness < ALIKE).sum())
    if 2 * odd > len(images):
        found = f"pixels beside each other correlate with {float(np.median(likeness)):.2f}"
        raise ExportError(
            f"{odd} of {len(images)} images to calibrate on are noise or blank ({found}, in photographs with more "
            f"than {ALIKE}); {ADVICE}"
        )


def _of_folder(folder: Path, tasks: int, hashes: set[str]) -> Calibration:
    if not folder.is_dir():
        raise ExportError(f"{folder}: no such folder of images; give one with --calibration FOLDER")
    paths = [path for path in spread(images_below(folder), IMAGES + len(hashes)) if _sha256(path) not in hashes]
    paths = paths[:IMAGES]
    return _made(paths, [place % tasks for place in range(len(paths))], f"images of {folder.resolve().name}/")


def _made(paths: Sequence[Path], tasks: Sequence[int], words: str) -> Calibration:
    if len(paths) < FEWEST:
        raise ExportError(
            f"{len(paths)} images to calibrate on, apart from those that graphs are verified on, expected at least "
            f"{FEWEST}; {ADVICE}"
        )
    digest = files.sha256_bytes("".join(map(_sha256, paths)).encode())[:12]
    return Calibration(tuple(paths), tuple(tasks), f"{len(paths)} {words} ({digest})")


def _sha256(path: Path) -> str:
    return files.sha256_bytes(files.read_regular(path, LIMIT))
