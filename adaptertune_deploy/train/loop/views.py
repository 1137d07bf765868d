"""Fixed views of the training images, of which the frozen part before the first adapter is computed once.

With adapters in the last blocks most of a step repeats what no training changes. What it can't repeat is an image that
is augmented anew in every epoch, so each image gets a few augmentations that stay, and its view as served. All folds,
ranks and seeds of a run share them, and what is measured, on training or test images, goes on from views as served.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.core.progress import Progress
from adaptertune_deploy.data.batches.loader import Batch, views_loader
from adaptertune_deploy.data.batches.order import Order, Part, is_served
from adaptertune_deploy.data.pixels.cache import PixelCache
from adaptertune_deploy.data.samples import Split, Targets
from adaptertune_deploy.model.backbone import Backbone
from adaptertune_deploy.model.common_part import common_tokens, has_common_part
from adaptertune_deploy.train.device.device import Device
from adaptertune_deploy.train.request.recipe import Recipe

Rows = npt.NDArray[np.int64]
CHUNK = 32
EXACT = torch.float32  # of the view as served, in which everything is measured
LARGEST = 8_000_000_000  # bytes


class Views:
    """The tokens of every view, computed when they are first asked for.

    block: the first that gets an adapter; the common part ends with its output.
    """

    def __init__(
        self,
        split: Split,
        pixels: PixelCache,
        preset: str,
        backbone: Backbone,
        block: int,
        recipe: Recipe,
        device: Device,
        tested: int = 0,
    ) -> None:
        """Check that they can be had.

        Args:
            split: the training images.
            pixels: decodes them.
            preset: name of the augmentation.
            backbone: on `device`.
            block: the first that gets an adapter; the common part ends with its output.
            recipe: how many views, and the seed of their augmentation.
            device: computes them in its precision.
            tested: how many test images will be asked for.

        Raises:
            UsageError: a backbone whose blocks can't be run apart, or more bytes than LARGEST.
        """
        if not has_common_part(backbone.module):
            raise UsageError(
                f"--views {recipe.views}: the blocks of {backbone.spec.name} can't be run apart from its stem; leave "
                "it out to augment anew in every epoch"
            )
        self._split, self._pixels, self._preset, self._seed = split, pixels, preset, recipe.seed
        self._backbone, self.block, self._device, self._count = backbone, block, device, recipe.views
        blank = torch.zeros(1, 3, *backbone.spec.image_size, device=device.torch)
        self._shape = tuple(common_tokens(backbone.module, blank, block).shape[1:])
        self._dtype = torch.bfloat16 if device.precision == "bf16" else torch.float32
        values = self._count * self._dtype.itemsize * len(split) + EXACT.itemsize * (len(split) + tested)
        size = values * int(np.prod(self._shape))
        if size > LARGEST:
            images = len(split) + tested
            raise UsageError(
                f"--views {recipe.views}: the tokens of {images:,} images take {size / 1e9:.1f} GB of memory, "
                f"expected at most {LARGEST / 1e9:.0f}; use fewer views, or leave it out"
            )
        self._served: dict[Split, Tensor] = {}
        self._augmented: Tensor | None = None

    def batches(
        self,
        rows: Rows,
        recipe: Recipe,
        seed: int,
        steps: int,
        start_step: int,
        part: Part,
        progress: Progress,
    ) -> ViewBatches:
        """Return batches of tokens of these training images; see Run.batches."""
        served = self._as_served(self._split, progress)
        if self._augmented is None:
            self._augmented = self._augmentations(progress)
        order = Order(len(rows), recipe.batch_size, seed, steps, start_step, part)
        return ViewBatches(self._augmented, served, self._split.targets, rows, order, seed, recipe.served_view)

    def served_batches(self, rows: Rows | None, batch_size: int, progress: Progress) -> ServedBatches:
        """Return batches of the tokens of training images as they are served, all or these rows, in order."""
        chosen = np.arange(len(self._split)) if rows is None else rows
        return ServedBatches(self._as_served(self._split, progress), self._split.targets, chosen, batch_size)

    def test_batches(self, test: Split, batch_size: int, progress: Progress) -> ServedBatches:
        """Return batches of the tokens of these test images, which all candidates, ranks and seeds go on from."""
        return ServedBatches(self._as_served(test, progress), test.targets, np.arange(len(test)), batch_size)

    def _as_served(self, split: Split, progress: Progress) -> Tensor:
        """Return tokens [images, tokens, width]."""
        if split not in self._served:
            what = "views as served" if split is self._split else "test images as served"
            tokens = torch.empty((len(split), *self._shape), dtype=EXACT)
            exact = Device(self._device.torch, "fp32")
            with exact.keeping_memory():
                for done in self._fill(tokens, split, None, exact, progress):
                    progress(what, done, len(tokens))
            self._served[split] = tokens
        return self._served[split]

    def _augmentations(self, progress: Progress) -> Tensor:
        """Return tokens [views, images, tokens, width] in the precision of the training."""
        images = len(self._split)
        tokens = torch.empty((self._count, images, *self._shape), dtype=self._dtype)
        with self._device.fast_steps(self._backbone):
            for view in range(self._count):
                for done in self._fill(tokens[view], self._split, view, self._device, progress):
                    progress("fixed views", view * images + done, self._count * images)
        return tokens

    @torch.no_grad()
    def _fill(
        self, tokens: Tensor, split: Split, view: int | None, device: Device, progress: Progress
    ) -> Iterator[int]:
        """Compute the tokens of a view; yields the number of images that are done. Chunks are always the same."""
        done = 0
        for batch in views_loader(split, self._pixels, self._preset, CHUNK, self._seed, view, progress):
            with device.autocast():
                found = common_tokens(self._backbone.module, batch.images.to(device.torch), self.block)
            tokens[batch.rows] = found.to("cpu", tokens.dtype)
            done += len(batch.rows)
            yield done


@dataclass(frozen=True, eq=False)
class ServedBatches:
    """Images as they are served, in order; len() is the number of batches.

    tokens: [images, tokens, width].
    targets: int64 [images].
    rows: of the images that are wanted; a batch's rows count within them.
    batch_size: images a batch, the last one as large as it is.
    """

    tokens: Tensor
    targets: Targets
    rows: Rows
    batch_size: int

    def __len__(self) -> int:
        return -(-len(self.rows) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        for start in range(0, len(self.rows), self.batch_size):
            images = self.rows[start : start + self.batch_size]
            held = torch.arange(start, start + len(images))
            yield Batch(self.tokens[torch.from_numpy(images)], torch.from_numpy(self.targets[images]), held)


@dataclass(frozen=True, eq=False)
class ViewBatches:
    """The batches of one training; len() is their number.

    augmented: [views, images, tokens, width].
    served: float32 [images, tokens, width].
    targets: int64 [images].
    rows: of the images that train; a batch's rows count within them.
    order: of (epoch, row).
    seed: see data.batches.loader.is_served.
    served_view: see there.
    """

    augmented: Tensor
    served: Tensor
    targets: Targets
    rows: Rows
    order: Order
    seed: int
    served_view: float

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[Batch]:
        for keys in self.order:
            held = np.array([row for _, row in keys], dtype=np.int64)
            images = torch.from_numpy(self.rows[held])
            epochs = torch.tensor([epoch for epoch, _ in keys], dtype=torch.int64)
            tokens = self.augmented[epochs % len(self.augmented), images]
            served = torch.tensor([is_served(self.seed, *key, self.served_view) for key in keys], dtype=torch.bool)
            tokens[served] = self.served[images[served]].to(tokens.dtype)
            yield Batch(tokens, torch.from_numpy(self.targets)[images], torch.from_numpy(held))
