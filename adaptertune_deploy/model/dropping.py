"""Dropout and drop-path of adapters while they train.

Dropout sets channels of the bottleneck to zero, after the GELU (Srivastava et al., JMLR 2014); drop-path leaves an
adapter's whole branch out for an image (Huang et al., arXiv 1603.09382). What is kept grows, so that its mean stays.

What is dropped follows from (seed, step, block, row of the batch) alone: a step that runs in parts, in several
processes, or again after a stop drops the same.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

CHANNELS, BRANCH = 0, 1


class Dropping:
    """What a step drops.

    Args:
        dropout: share of the channels, 0..1.
        drop_path: share of the images, 0..1.
        seed: of the training.
    """

    def __init__(self, dropout: float, drop_path: float, seed: int) -> None:
        self._shares = {CHANNELS: dropout, BRANCH: drop_path}
        self._seed = seed
        self.begin(0, 1)

    def begin(self, step: int, images: int) -> None:
        """Draw anew for the batch of a step, counted from 0; its size is that of the whole batch."""
        self._step, self._images = step, images
        self.rows = slice(0, images)

    def channels(self, hidden: Tensor, block: int) -> Tensor:
        """Return a bottleneck's activations (rows, tokens, rank), some of them zero."""
        return self._drop(hidden, block, CHANNELS, tuple(hidden.shape[1:]))

    def branch(self, branch: Tensor, block: int) -> Tensor:
        """Return an adapter's branch (rows, tokens, width), zero for some images."""
        return self._drop(branch, block, BRANCH, (1, 1))

    def _drop(self, x: Tensor, block: int, kind: int, shape: tuple[int, ...]) -> Tensor:
        """Return x where kept, divided by the share that is; the draw is made for the whole batch, as it is cheap."""
        keep = 1 - self._shares[kind]
        if keep == 1:
            return x
        number = np.random.SeedSequence((self._seed, self._step, block, kind)).generate_state(1, np.uint64)[0]
        generator = torch.Generator(device=x.device).manual_seed(int(number >> 1))
        drawn = torch.rand((self._images, *shape), generator=generator, device=x.device)[self.rows]
        return x * ((drawn < keep).to(x.dtype) / keep)
