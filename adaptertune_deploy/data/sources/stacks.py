"""Images of one size in memory, one array for each split: 50,000 small images are one object, not 50,000."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image

from adaptertune_deploy.data.readers import DrawnReader
from adaptertune_deploy.data.samples import Pixels, Split, Targets


@dataclass(frozen=True, eq=False)
class StackReader(DrawnReader):
    """Images by names like "train/00042", the row 42 of the stack "train".

    stacks: part -> uint8 [N, H, W] grey or [N, H, W, 3] RGB.
    """

    stacks: Mapping[str, Pixels]

    def __post_init__(self) -> None:
        for part, pixels in self.stacks.items():
            if pixels.dtype != np.uint8 or pixels.ndim not in (3, 4) or (pixels.ndim == 4 and pixels.shape[3] != 3):
                raise ValueError(
                    f"{part}: {pixels.dtype} {list(pixels.shape)}, expected uint8 [N, H, W] or [N, H, W, 3]"
                )

    def drawn(self, name: str) -> Image.Image:
        """Return the RGB image."""
        part, _, row = name.rpartition("/")
        return Image.fromarray(np.ascontiguousarray(self.stacks[part][int(row)])).convert("RGB")

    def split(self, part: str, targets: Targets) -> Split:
        """Return all images of a part with their classes, int64 [N]."""
        return Split(row_names(part, len(self.stacks[part])), targets, self)


def row_names(part: str, count: int) -> tuple[str, ...]:
    """Return the names of `count` images that have nothing but a place in their split."""
    return tuple(f"{part}/{row:05d}" for row in range(count))
