"""What training looks at in an image: the view that is served, and a reduced one to augment."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

import numpy as np
from PIL import Image

from adaptertune_deploy.core.errors import DatasetError, ImageError
from adaptertune_deploy.core.images import preprocess
from adaptertune_deploy.core.spec import PreprocessSpec
from adaptertune_deploy.data.samples import Pixels, Split


class Look:
    """One image, decoded when a view needs it.

    Args:
        split: holds the image.
        row: its row.
        orientation: "exif" or "ignored"; see PreprocessSpec.
    """

    def __init__(self, split: Split, row: int, orientation: str) -> None:
        self._split, self._row, self._orientation = split, row, orientation
        self._whole: Image.Image | None = None

    def whole(self) -> Image.Image:
        """Return the image with all its pixels, RGB."""
        if self._whole is None:
            self._whole = self._split.image(self._row, self._orientation)
        return self._whole

    def at_least(self, side: int) -> Image.Image:
        """Return the image with a shorter side of at least `side`, or with all its pixels.

        A large JPEG is decoded anew and smaller even when all its pixels are here: that is faster than to resize
        them, and the view is the same whichever others were asked for.
        """
        if self._whole is not None and min(self._whole.size) < 2 * side:
            return self._whole
        return self._split.image(self._row, self._orientation, side)


class View(Protocol):
    """A way to look at an image."""

    @property
    def facts(self) -> str:
        """All that decides the pixels besides the image and the libraries."""

    def pixels(self, look: Look) -> Pixels:
        """Return uint8 [height, width, 3].

        Raises:
            DatasetError, ImageError: the image is absent, damaged, or can't be resized.
        """

    def total(self, images: int) -> int | None:
        """Return the bytes of so many images; None when that depends on them."""


@dataclass(frozen=True)
class Served:
    """The view that is served, before it is normalised: preprocess.served_pixels."""

    spec: PreprocessSpec

    @property
    def facts(self) -> str:
        """All of the preprocessing but the normalisation."""
        values = {name: value for name, value in asdict(self.spec).items() if name not in ("mean", "std")}
        return f"served {json.dumps(values, sort_keys=True)}"

    def pixels(self, look: Look) -> Pixels:
        """Return the model's input, uint8 [H, W, 3]."""
        return preprocess.served_pixels(look.whole(), self.spec)

    def total(self, images: int) -> int:
        """Every image is of the model's size."""
        return images * 3 * self.spec.size[0] * self.spec.size[1]


@dataclass(frozen=True)
class Reduced:
    """The whole image, its shorter side reduced to `side` pixels where it is longer.

    At twice the model's side no crop of a preset has to be enlarged.
    """

    side: int
    orientation: str

    @property
    def facts(self) -> str:
        """Side and orientation."""
        return f"reduced {self.side} {self.orientation}"

    def pixels(self, look: Look) -> Pixels:
        """Return the reduced image."""
        image = look.at_least(self.side)
        if min(image.size) > self.side:
            share = self.side / min(image.size)
            width, height = (max(self.side, round(length * share)) for length in image.size)
            image = image.resize((width, height), Image.Resampling.BICUBIC)
        return np.asarray(image)

    def total(self, images: int) -> None:
        """Images differ in size."""


def make(split: Split, row: int, views: Sequence[View], orientation: str) -> tuple[Pixels, ...]:
    """Return an image in several views.

    Raises:
        DatasetError: it is absent, damaged, too large, or can't be resized.
    """
    look = Look(split, row, orientation)
    try:
        return tuple(view.pixels(look) for view in views)
    except ImageError as error:  # the preprocessing only knows pixels
        found = str(error).partition(";")[0]
        raise DatasetError(f"{split.names[row]}: {found}; replace or remove this image") from None
