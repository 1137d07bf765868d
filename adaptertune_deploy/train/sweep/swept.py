"""What a sweep over ranks measured, and its file <task>.json."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from adaptertune_deploy.core.storage import records

FORMAT_VERSION = 1
BYTES_A_NUMBER = 4
ADAPTER, NESTED, FULL = "adapter", "nested", "full"


@dataclass(frozen=True)
class SweptRank:
    """One rank.

    rank: 0 is the head alone.
    method: "adapter" for a training of its own, "nested" for nested adapters of the largest rank, cut to this one,
        "full" for fine-tuning the whole backbone, at rank 0.
    parameters: numbers that are trained.
    loss, top1: out of fold, at the rank's own temperature, with the first seed; None where too few were compared.
    above, error: by how much that loss lies above the best rank's, image by image, and its standard error.
    test_top1, test_loss: on the test images, one a seed.
    """

    rank: int
    parameters: int
    loss: float | None
    top1: float | None
    above: float | None
    error: float | None
    test_top1: tuple[float, ...]
    test_loss: tuple[float, ...]
    method: str = ADAPTER

    @property
    def bytes(self) -> int:
        """What the tensors take in a bundle, float32."""
        return BYTES_A_NUMBER * self.parameters


@dataclass(frozen=True)
class Sweep:
    """A whole sweep.

    seeds: of the trainings.
    folds: of the comparison; 1 is one split.
    compared: images of the comparison.
    ranks: ascending, 0 first, then those of other methods.
    enough: the smallest rank within one standard error of the best; None where too few images were compared.
    alike: all ranks within one standard error of the best.
    """

    format_version: int
    task: str
    dataset: str
    backbone: str
    placement: str
    train_images: int
    test_images: int
    seeds: tuple[int, ...]
    folds: int
    compared: int
    ranks: tuple[SweptRank, ...]
    enough: int | None
    alike: tuple[int, ...]
    seconds: float

    def of(self, method: str) -> tuple[SweptRank, ...]:
        """Return the rows of a method."""
        return tuple(one for one in self.ranks if one.method == method)


def write(path: Path, sweep: Sweep) -> None:
    """Write a sweep, atomically."""
    records.write(path, sweep)


def read(path: Path) -> Sweep:
    """Return the sweep of a file.

    Raises:
        FormatError: absent, damaged or of another version.
    """
    return records.read(path, Sweep, FORMAT_VERSION, "sweep again")


def facts(sweep: Sweep) -> dict[str, Any]:
    """Return a sweep as plain JSON values, with means and sizes worked out."""
    ranks = [
        {**dataclasses.asdict(one), "bytes": one.bytes, "test_top1_mean": fmean(one.test_top1)} for one in sweep.ranks
    ]
    return {**dataclasses.asdict(sweep), "ranks": ranks, "words": words(sweep)}


def title(sweep: Sweep) -> str:
    """Return what stands above the picture."""
    seeds = "1 seed" if len(sweep.seeds) == 1 else f"{len(sweep.seeds)} seeds"
    return f"{sweep.task}: {words(sweep)}; {seeds} on {sweep.test_images:,} test images"


def words(sweep: Sweep) -> str:
    """Say which rank is enough, by the images that were held out of training and not by the test images."""
    if sweep.enough is None:
        return f"{sweep.compared:,} images are too few to compare ranks out of fold"
    how = "one split" if sweep.folds == 1 else f"{sweep.folds} folds"
    others = [str(rank) for rank in sweep.alike if rank != sweep.enough]
    alike = f"; not distinguishable from it: {', '.join(others)}" if others else ""
    name = f"rank {sweep.enough}" if sweep.enough else "the head alone"
    return f"{name} is enough on {sweep.compared:,} images out of fold ({how}){alike}"
