"""Batches of a split: shuffled and augmented for training, in order and as served for evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from adaptertune_deploy.core import preprocess
from adaptertune_deploy.core.errors import DatasetError, ImageError
from adaptertune_deploy.core.progress import Progress, silent
from adaptertune_deploy.core.spec import PreprocessSpec
from adaptertune_deploy.data.augment import sample_generator, training_transform
from adaptertune_deploy.data.pixels import DecodedImages
from adaptertune_deploy.data.samples import Split

CACHE_BYTES = 1 << 30

Key = tuple[int, int]
Sample = tuple[torch.Tensor, int, int]


class Batch(NamedTuple):
    """Some rows of a split.

    images: float32 [B, 3, H, W], normalised.
    targets: int64 [B].
    rows: int64 [B], each image's row in the split.
    """

    images: torch.Tensor
    targets: torch.Tensor
    rows: torch.Tensor


class TrainingLoader:
    """An endless supply of epochs; len() is the number of batches in one.

    Each epoch is shuffled by (seed, epoch) and each image augmented by (seed, epoch, row), so batches depend neither
    on the number of workers nor on what was drawn before. The last, smaller batch of an epoch is left out, unless
    it is the only one: every step has one shape.
    """

    def __init__(self, images: _TrainingImages, batch_size: int, seed: int, workers: int, pin: bool) -> None:
        self._size = len(images)
        self._order = _Order(self._size, batch_size, seed)
        self._loader: DataLoader[Sample] = DataLoader(
            images,
            batch_sampler=self._order,
            num_workers=workers,
            collate_fn=_collate,
            pin_memory=pin,
            persistent_workers=workers > 0,
            generator=torch.Generator(),  # torch draws a seed for workers from it: keep its hands off the global one
        )

    def __len__(self) -> int:
        return self._order.steps

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[Batch]:
        """Yield the batches of one epoch, from `start_step` on.

        Raises:
            DatasetError: an image is absent or damaged.
        """
        self._order.epoch, self._order.start = epoch, start_step
        yield from _batches(self._loader)


class EvaluationLoader:
    """The batches of a split in its order, the last one as large as it is; len() is their number."""

    def __init__(self, images: _EvaluationImages, batch_size: int, workers: int, pin: bool) -> None:
        self._loader: DataLoader[Sample] = DataLoader(
            images,
            batch_size=batch_size,
            num_workers=workers,
            collate_fn=_collate,
            pin_memory=pin,
            generator=torch.Generator(),
        )

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Batch]:
        yield from _batches(self._loader)


def training_loader(
    split: Split,
    spec: PreprocessSpec,
    preset: str,
    batch_size: int,
    seed: int,
    *,
    workers: int = 0,
    cache_bytes: int = CACHE_BYTES,
    pin: bool = False,
    progress: Progress = silent,
) -> TrainingLoader:
    """Decode a split and return its training batches.

    Args:
        split: the training images.
        spec: the backbone's preprocessing.
        preset: name of the augmentation (data.augment.PRESETS).
        batch_size: images a step.
        seed: of the run.
        workers: processes that augment; 0 does it in this one.
        cache_bytes: memory for decoded images. They are kept with a shorter side of at most twice the model's, so
            that no crop of a preset has to be enlarged.
        pin: page-locked batches, for a GPU.
        progress: told about the decoding.

    Raises:
        DatasetError: an image is absent or damaged.
        UsageError: no such preset.
    """
    images = DecodedImages(split, cache_bytes, 2 * max(spec.size))
    samples = _TrainingImages(images, spec, preset, seed)
    images.fill(progress, "decoding training images")
    return TrainingLoader(samples, batch_size, seed, workers, pin)


def evaluation_loader(
    split: Split, spec: PreprocessSpec, batch_size: int, *, workers: int = 0, keep_bytes: int = 0, pin: bool = False
) -> EvaluationLoader:
    """Return a split's batches, preprocessed by core.preprocess as the server does it.

    Args:
        split: the images.
        spec: the backbone's preprocessing.
        batch_size: images a batch.
        workers: processes that decode; 0 does it in this one.
        keep_bytes: memory for preprocessed images (12 bytes an input pixel), for a split that is read once an epoch;
            used without workers only.
        pin: page-locked batches, for a GPU.
    """
    return EvaluationLoader(_EvaluationImages(split, spec, keep_bytes), batch_size, workers, pin)


class _TrainingImages(Dataset[Sample]):
    """Augmented images, asked for by (epoch, row)."""

    def __init__(self, images: DecodedImages, spec: PreprocessSpec, preset: str, seed: int) -> None:
        self._images = images
        self._spec, self._preset, self._seed = spec, preset, seed
        self._transform = training_transform(preset, spec)

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, key: Key) -> Sample:
        epoch, row = key
        split = self._images.split
        with _named(split, row):
            image = self._transform(self._images.image(row), sample_generator(self._seed, epoch, row))
        return image, int(split.targets[row]), row

    def __getstate__(self) -> dict[str, object]:
        # A closure can't be pickled for workers that are spawned; it is made again from what it was made of.
        return {key: value for key, value in self.__dict__.items() if key != "_transform"}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._transform = training_transform(self._preset, self._spec)


class _EvaluationImages(Dataset[Sample]):
    """Preprocessed images in the split's order."""

    def __init__(self, split: Split, spec: PreprocessSpec, keep_bytes: int) -> None:
        self._split, self._spec, self._left = split, spec, keep_bytes
        self._kept: dict[int, torch.Tensor] = {}

    def __len__(self) -> int:
        return len(self._split)

    def __getitem__(self, row: int) -> Sample:
        image = self._kept.get(row)
        if image is None:
            with _named(self._split, row):
                image = torch.from_numpy(preprocess.transform(self._split.image(row), self._spec))
            if image.nbytes <= self._left:
                self._left -= image.nbytes
                self._kept[row] = image
        return image, int(self._split.targets[row]), row


class _Order(torch.utils.data.Sampler[list[Key]]):
    """Batches of (epoch, row). The epoch travels in the key, since workers that live on don't see a changed field."""

    def __init__(self, size: int, batch_size: int, seed: int) -> None:
        self._size, self._batch_size, self._seed = size, batch_size, seed
        self.epoch = 0
        self.start = 0

    @property
    def steps(self) -> int:
        return max(1, self._size // self._batch_size)

    def __len__(self) -> int:
        return self.steps - self.start

    def __iter__(self) -> Iterator[list[Key]]:
        rows = np.random.default_rng((self._seed, self.epoch)).permutation(self._size).tolist()
        for step in range(self.start, self.steps):
            yield [(self.epoch, row) for row in rows[step * self._batch_size : (step + 1) * self._batch_size]]


def _collate(samples: list[Sample]) -> Batch:
    images, targets, rows = zip(*samples, strict=True)
    return Batch(torch.stack(images), torch.tensor(targets), torch.tensor(rows))


def _batches(loader: DataLoader[Sample]) -> Iterator[Batch]:
    try:
        yield from loader
    except DatasetError as error:
        # torch puts a worker's traceback into the message; the last part is what we raised there.
        raise DatasetError(str(error).strip().rpartition(f"{DatasetError.__name__}: ")[2]) from None


@contextmanager
def _named(split: Split, row: int) -> Iterator[None]:
    """Name the image in an error of the preprocessing, which only knows pixels."""
    try:
        yield
    except ImageError as error:
        found = str(error).partition(";")[0]
        raise DatasetError(f"{split.names[row]}: {found}; replace or remove this image") from None
