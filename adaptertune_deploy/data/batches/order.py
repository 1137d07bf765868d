"""Which samples every batch of a training consists of: by seed, epoch and row alone."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import torch

Key = tuple[int, int]
Part = tuple[int, int]
WHOLE: Part = (0, 1)
# Tells the choice of the view from the augmentation's random numbers.
SERVED_STREAM = 1


def is_served(seed: int, epoch: int, row: int, share: float) -> bool:
    """Return whether a sample of a run is not augmented but seen as served; see training_loader."""
    return bool(np.random.default_rng((seed, epoch, row, SERVED_STREAM)).random() < share)


class Order(torch.utils.data.Sampler[list[Key]]):
    """Batches of (epoch, row), cut from the epochs' permutations laid end to end."""

    def __init__(self, size: int, batch_size: int, seed: int, steps: int, start: int, part: Part = WHOLE) -> None:
        self._part = part
        self._size, self.batch_size, self._seed = size, min(batch_size, size), seed
        self._steps, self._start = steps, start

    def __len__(self) -> int:
        return max(0, self._steps - self._start)

    def __iter__(self) -> Iterator[list[Key]]:
        keys = self._keys(self._start * self.batch_size)
        number, of = self._part
        first, last = self.batch_size * number // of, self.batch_size * (number + 1) // of
        for _ in range(len(self)):
            yield list(itertools.islice(keys, self.batch_size))[first:last]

    def _keys(self, position: int) -> Iterator[Key]:
        """Yield the samples of the run from a position on, for ever."""
        first, passed = divmod(position, self._size)
        for epoch in itertools.count(first):
            rows = np.random.default_rng((self._seed, epoch)).permutation(self._size).tolist()
            yield from ((epoch, row) for row in rows[passed:])
            passed = 0
