"""Fixed views of the training images, of which the frozen part before the first adapter is computed once.

With adapters in the last blocks most of a step repeats what no training changes. What it can't repeat is an image that
is augmented anew in every epoch, so each image gets a few augmentations that stay, and its view as served. All folds,
ranks and seeds of a run share them.
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

CHUNK = 32
LARGEST = 8_000_000_000  # bytes


class Views:
    """The tokens of every view, computed when they are first asked for."""

    def __init__(
        self,
        split: Split,
        pixels: PixelCache,
        preset: str,
        backbone: Backbone,
        block: int,
        recipe: Recipe,
        device: Device,
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

        Raises:
            UsageError: a backbone whose blocks can't be run apart, or more bytes than LARGEST.
        """
        if not has_common_part(backbone.module):
            raise UsageError(
                f"--views {recipe.views}: the blocks of {backbone.spec.name} can't be run apart from its stem; leave "
                "it out to augment anew in every epoch"
            )
        self._split, self._pixels, self._preset, self._seed = split, pixels, preset, recipe.seed
        self._backbone, self._block, self._device, self._count = backbone, block, device, recipe.views
        blank = torch.zeros(1, 3, *backbone.spec.image_size, device=device.torch)
        self._shape = tuple(common_tokens(backbone.module, blank, block).shape[1:])
        self._dtype = torch.bfloat16 if device.precision == "bf16" else torch.float32
        size = (self._count + 1) * len(split) * int(np.prod(self._shape)) * self._dtype.itemsize
        if size > LARGEST:
            raise UsageError(
                f"--views {recipe.views}: the tokens of {len(split):,} images take {size / 1e9:.1f} GB of memory, "
                f"expected at most {LARGEST / 1e9:.0f}; use fewer views, or leave it out"
            )
        self._tokens: Tensor | None = None

    def batches(
        self,
        rows: npt.NDArray[np.int64],
        recipe: Recipe,
        seed: int,
        steps: int,
        start_step: int,
        part: Part,
        progress: Progress,
    ) -> ViewBatches:
        """Return batches of tokens of these training images; see Run.batches."""
        if self._tokens is None:
            self._tokens = self._computed(progress)
        order = Order(len(rows), recipe.batch_size, seed, steps, start_step, part)
        return ViewBatches(self._tokens, self._split.targets, rows, order, seed, recipe.served_view)

    @torch.no_grad()
    def _computed(self, progress: Progress) -> Tensor:
        """Return tokens [views + 1, images, tokens, width], the view as served last; chunks are always the same."""
        tokens = torch.empty((self._count + 1, len(self._split), *self._shape), dtype=self._dtype)
        done, total = 0, (self._count + 1) * len(self._split)
        with self._device.fast_steps(self._backbone):
            for view in range(self._count + 1):
                augmented = None if view == self._count else view
                for batch in views_loader(
                    self._split, self._pixels, self._preset, CHUNK, self._seed, augmented, progress
                ):
                    with self._device.autocast():
                        found = common_tokens(self._backbone.module, batch.images.to(self._device.torch), self._block)
                    tokens[view, batch.rows] = found.to("cpu", self._dtype)
                    done += len(batch.rows)
                    progress("fixed views", done, total)
        return tokens


@dataclass(frozen=True, eq=False)
class ViewBatches:
    """The batches of one training; len() is their number.

    tokens: [views + 1, images, tokens, width].
    targets: int64 [images].
    rows: of the images that train; a batch's rows count within them.
    order: of (epoch, row).
    seed: see data.batches.loader.is_served.
    served_view: see there.
    """

    tokens: Tensor
    targets: Targets
    rows: npt.NDArray[np.int64]
    order: Order
    seed: int
    served_view: float

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[Batch]:
        views = len(self.tokens) - 1
        for keys in self.order:
            chosen = [
                views if is_served(self.seed, epoch, row, self.served_view) else epoch % views for epoch, row in keys
            ]
            held = np.array([row for _, row in keys], dtype=np.int64)
            images = self.rows[held]
            tokens = self.tokens[torch.tensor(chosen, dtype=torch.int64), torch.from_numpy(images)]
            yield Batch(tokens, torch.from_numpy(self.targets[images]), torch.from_numpy(held))
