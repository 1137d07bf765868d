"""The training preset of images that nothing is known about but their size."""

from __future__ import annotations

import contextlib

import numpy as np

from adaptertune_deploy.core.errors import DatasetError
from adaptertune_deploy.data.samples import Split

SMALL_SIDE = 64
SAMPLED = 16


def preset_by_size(train: Split) -> str:
    """Return the preset (data.batches.augment.PRESETS) that suits the size of a few images spread over the split.

    No image is decoded for it, and damaged ones don't count: whoever reads the images names them.
    """
    sides = []
    for row in np.linspace(0, len(train) - 1, min(SAMPLED, len(train))).astype(int):
        with contextlib.suppress(DatasetError):
            sides.append(min(train.size(row)))
    return "small" if sides and np.median(sides) <= SMALL_SIDE else "fine"
