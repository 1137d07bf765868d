"""Batches of a split: shuffled and augmented for training, in order and as served for evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from adaptertune_deploy.core.errors import DatasetError
from adaptertune_deploy.core.images import preprocess
from adaptertune_deploy.core.progress import Progress, silent
from adaptertune_deploy.core.spec import PreprocessSpec
from adaptertune_deploy.data.batches.augment import sample_generator, training_transform
from adaptertune_deploy.data.batches.order import WHOLE, Key, Order, Part, is_served
from adaptertune_deploy.data.pixels.cache import PixelCache
from adaptertune_deploy.data.samples import Pixels, Split

SERVED_VIEW = 1 / 3

# Pixels as served_pixels gives them, target, row.
Sample = tuple[Pixels, int, int]


class Batch(NamedTuple):
    """Some rows of a split.

    images: float32 [B, 3, H, W], normalised.
    targets: int64 [B].
    rows: int64 [B], each image's row in the split.
    """

    images: torch.Tensor
    targets: torch.Tensor
    rows: torch.Tensor


class Batches(Protocol):
    """The batches of one training; len() is the number that iterating yields."""

    def __len__(self) -> int:
        """Return their number."""

    def __iter__(self) -> Iterator[Batch]:
        """Yield them in their order."""


class TrainingLoader:
    """The batches of one training run, all of one size; len() is the number that iterating yields.

    Epochs are shuffled by (seed, epoch) and follow one another without a gap: a batch may end one and begin the next,
    and no image is left out. What is done to an image follows from (seed, epoch, row). So batches depend neither on
    the number of workers nor on where the run starts.
    """

    def __init__(self, images: _TrainingImages, order: Order, workers: int, pin: bool) -> None:
        self._order = order
        self._loader: DataLoader[Sample] = DataLoader(
            images,
            batch_sampler=order,
            num_workers=workers,
            collate_fn=partial(_collate, images.spec),
            pin_memory=pin,
            generator=torch.Generator(),  # torch draws a seed for workers from it: keep its hands off the global one
        )

    def __len__(self) -> int:
        return len(self._order)

    @property
    def batch_size(self) -> int:
        """Images in every batch."""
        return self._order.batch_size

    def __iter__(self) -> Iterator[Batch]:
        batches = _batches(self._loader)
        return batches if self._loader.num_workers else _ahead(batches)


class EvaluationLoader:
    """The batches of a split in its order, the last one as large as it is; len() is their number."""

    def __init__(self, images: _EvaluationImages, batch_size: int, workers: int, pin: bool) -> None:
        self._loader: DataLoader[Sample] = DataLoader(
            images,
            batch_size=batch_size,
            num_workers=workers,
            collate_fn=partial(_collate, images.spec),
            pin_memory=pin,
            persistent_workers=workers > 0,
            generator=torch.Generator(),
        )

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Batch]:
        yield from _batches(self._loader)


def training_loader(
    split: Split,
    pixels: PixelCache,
    preset: str,
    batch_size: int,
    seed: int,
    steps: int,
    *,
    served_view: float = SERVED_VIEW,
    start_step: int = 0,
    part: Part = WHOLE,
    workers: int = 0,
    pin: bool = False,
    progress: Progress = silent,
) -> TrainingLoader:
    """Return the training batches of a split, from `start_step` to `steps`.

    Args:
        split: the training images, or a part of them.
        pixels: decodes them; what was decoded before, for a larger split say, is not decoded again.
        preset: name of the augmentation (data.batches.augment.PRESETS).
        batch_size: images a step; the whole split when that is smaller.
        seed: of the run.
        steps: batches of the whole run.
        served_view: share of the samples that are not augmented but seen as the server prepares them; decided for
            each by (seed, epoch, row), and no augmentation changes with it.
        start_step: batches of the run that are passed over.
        part: (n, of): the n-th of so many shares of every batch, in order, as equal as can be.
        workers: processes that augment; 0 does it in this one.
        pin: page-locked batches, for a GPU.
        progress: told about the decoding.

    Raises:
        DatasetError: an image is absent or damaged.
        UsageError: no such preset.
    """
    images = _TrainingImages(split, pixels, preset, seed, served_view)
    _fill(split, pixels, True, progress)
    return TrainingLoader(images, Order(len(split), batch_size, seed, steps, start_step, part), workers, pin)


def evaluation_loader(
    split: Split,
    pixels: PixelCache,
    batch_size: int,
    *,
    workers: int = 0,
    pin: bool = False,
    progress: Progress = silent,
) -> EvaluationLoader:
    """Return a split's batches, preprocessed by core.images.preprocess as the server does it.

    Args:
        split: the images.
        pixels: decodes them; what was decoded before is not decoded again.
        batch_size: images a batch.
        workers: processes that normalise; 0 does it in this one. They stay as long as the loader.
        pin: page-locked batches, for a GPU.
        progress: told about the decoding.

    Raises:
        DatasetError: an image is absent or damaged.
    """
    _fill(split, pixels, False, progress)
    return EvaluationLoader(_EvaluationImages(split, pixels), batch_size, workers, pin)


def views_loader(
    split: Split, pixels: PixelCache, preset: str, batch_size: int, seed: int, view: int | None, progress: Progress
) -> Iterator[Batch]:
    """Yield all images of a split in order, in one augmentation of each or as served.

    Args:
        split: the images.
        pixels: decodes them.
        preset: name of the augmentation.
        batch_size: images a batch.
        seed: of the augmentations.
        view: number of the augmentation, that of training_loader's epoch; None for the view as served.
        progress: told about the decoding.

    Raises:
        DatasetError: an image is absent or damaged.
        UsageError: no such preset.
    """
    if view is None:
        return iter(evaluation_loader(split, pixels, batch_size, progress=progress))
    images = _TrainingImages(split, pixels, preset, seed, 0.0)
    _fill(split, pixels, True, progress)
    keys = [(view, row) for row in range(len(split))]
    parts = (keys[start : start + batch_size] for start in range(0, len(keys), batch_size))
    return _ahead(_collate(images.spec, [images[key] for key in part]) for part in parts)


def _fill(split: Split, pixels: PixelCache, reduced: bool, progress: Progress) -> None:
    for reason in pixels.fill(split, reduced=reduced, progress=progress).values():
        raise DatasetError(reason)


class _TrainingImages(Dataset[Sample]):
    """Augmented images, asked for by (epoch, row)."""

    def __init__(self, split: Split, pixels: PixelCache, preset: str, seed: int, served_view: float) -> None:
        self._split, self._pixels, self.spec = split, pixels, pixels.spec
        self._seed, self._served_view = seed, served_view
        self._transform = training_transform(preset, pixels.spec)

    def __len__(self) -> int:
        return len(self._split)

    def __getitem__(self, key: Key) -> Sample:
        epoch, row = key
        if is_served(self._seed, epoch, row, self._served_view):
            pixels = self._pixels.served(self._split, row)
        else:
            reduced = self._pixels.reduced(self._split, row)
            pixels = self._transform(reduced, sample_generator(self._seed, epoch, row))
        return pixels, int(self._split.targets[row]), row


class _EvaluationImages(Dataset[Sample]):
    """Images as they are served, in the split's order."""

    def __init__(self, split: Split, pixels: PixelCache) -> None:
        self._split, self._pixels, self.spec = split, pixels, pixels.spec

    def __len__(self) -> int:
        return len(self._split)

    def __getitem__(self, row: int) -> Sample:
        return self._pixels.served(self._split, row), int(self._split.targets[row]), row


def _collate(spec: PreprocessSpec, samples: list[Sample]) -> Batch:
    """Normalise samples into a batch; there may be none, where a batch has fewer images than there are processes."""
    # By numpy: torch would start a second set of threads beside that of the training step.
    images = np.empty((len(samples), 3, *spec.size), dtype=np.float32)
    for place, (pixels, _, _) in zip(images, samples, strict=True):
        preprocess.normalised(pixels, spec, place)
    numbers = np.array([(target, row) for _, target, row in samples], dtype=np.int64).reshape(-1, 2).T.copy()
    return Batch(torch.from_numpy(images), *torch.from_numpy(numbers))


def _ahead(batches: Iterator[Batch]) -> Iterator[Batch]:
    """Yield the same batches, each made in a thread while the one before is used; Pillow and numpy free the others."""
    with ThreadPoolExecutor(1, thread_name_prefix="batches") as pool:
        made = pool.submit(next, batches, None)
        while (batch := made.result()) is not None:
            made = pool.submit(next, batches, None)
            yield batch


def _batches(loader: DataLoader[Sample]) -> Iterator[Batch]:
    try:
        yield from loader
    except DatasetError as error:
        # torch puts a worker's traceback into the message; the last part is what we raised there.
        raise DatasetError(str(error).strip().rpartition(f"{DatasetError.__name__}: ")[2]) from None
