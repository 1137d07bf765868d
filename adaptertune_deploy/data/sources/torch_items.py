"""Any torch Dataset, or any sequence of (image, class), from Python."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from PIL import Image

from adaptertune_deploy.core.errors import DatasetError
from adaptertune_deploy.data.names.task_names import check_task_option
from adaptertune_deploy.data.names.whereabouts import FROM_PYTHON
from adaptertune_deploy.data.readers import DrawnReader
from adaptertune_deploy.data.samples import Dataset, Pixels, Split, Targets
from adaptertune_deploy.data.sources.preset_by_size import preset_by_size
from adaptertune_deploy.data.sources.stacks import row_names

LICENCE = "unknown: this dataset was handed over in Python, its terms are yours to know"
EXPECTED = "expected (PIL image, uint8 array [H, W, 3] or [H, W], or float tensor [3, H, W] in 0..1; class)"

# Nobody promises that an item may be read by two threads at once.
_ONE_AT_A_TIME = threading.Lock()


class Items(Protocol):
    """A map-style torch Dataset: a length, and items that are pairs of image and class."""

    def __len__(self) -> int:
        """Return the number of items."""

    def __getitem__(self, index: int, /) -> Any:
        """Return an item."""


@dataclass(frozen=True, eq=False)
class ItemsReader(DrawnReader):
    """Images by names like "train/00042", the item 42 of that part."""

    items: Mapping[str, Items]

    def drawn(self, name: str) -> Image.Image:
        """Return the RGB image.

        Raises:
            DatasetError: the item is no image.
        """
        part, _, row = name.rpartition("/")
        with _ONE_AT_A_TIME:
            image, _ = _item(self.items[part], int(row), name)
        return image


def from_torch(
    dataset: Items,
    labels: Sequence[str],
    name: str,
    test: Items | None = None,
    *,
    targets: Sequence[int] | None = None,
    test_targets: Sequence[int] | None = None,
    augment: str | None = None,
    licence: str = LICENCE,
) -> Dataset:
    """Return torch datasets as one to train on.

    Args:
        dataset: training items: (PIL image, or uint8 array [H, W, 3] or [H, W], or float tensor [3, H, W] in 0..1,
            class). Not normalised, not augmented, the same on every reading: both are done here.
        labels: names of the classes 0, 1, ...
        name: of the task.
        test: test items; without them a stratified part of the others is held out.
        targets: the classes, where they are known; reading them from the items reads every image.
        test_targets: likewise of `test`.
        augment: name of the training preset (data.batches.augment.PRESETS); None chooses by the size of the images.
        licence: the terms of the images.

    Raises:
        DatasetError: an item of another form, a class without a label, or images that change between two readings.
        UsageError: `name` can't be a task's name.
    """
    check_task_option(name)
    parts = {"train": dataset} if test is None else {"train": dataset, "test": test}
    reader = ItemsReader(parts)
    given = {"train": targets, "test": test_targets}
    splits = {part: _split(part, items, given[part], reader) for part, items in parts.items()}
    return Dataset(
        name=f"{FROM_PYTHON}{name}",
        task=name,
        labels=tuple(str(label) for label in labels),
        train=splits["train"],
        val=None,
        test=splits.get("test"),
        licence=licence,
        non_commercial=None,
        redistributable=False,
        augment=augment or preset_by_size(splits["train"]),
    )


def _split(part: str, items: Items, given: Sequence[int] | None, reader: ItemsReader) -> Split:
    if not len(items):
        raise DatasetError(f"{part}: has no item; {EXPECTED}")
    first, again = (np.asarray(_item(items, 0, f"{part}/0")[0]) for _ in range(2))
    if first.shape != again.shape or (first != again).any():
        raise DatasetError(
            f"{part}: its first image was another one on the second reading; leave random transforms out, training "
            "augments by itself"
        )
    if given is not None and len(given) != len(items):
        raise DatasetError(f"{part}: {len(given):,} classes were given for {len(items):,} items")
    return Split(row_names(part, len(items)), _targets(part, items, given), reader)


def _targets(part: str, items: Items, given: Sequence[int] | None) -> Targets:
    if given is not None:
        return np.array([int(target) for target in given], dtype=np.int64)
    return np.array([_item(items, row, f"{part}/{row}")[1] for row in range(len(items))], dtype=np.int64)


def _item(items: Items, row: int, name: str) -> tuple[Image.Image, int]:
    """Return an item as RGB image and class."""
    item = items[row]
    if not isinstance(item, (tuple, list)) or len(item) != 2:
        raise DatasetError(f"{name}: is a {type(item).__name__}; {EXPECTED}")
    image, target = item
    try:
        target = int(target)
    except (TypeError, ValueError):
        raise DatasetError(f"{name}: its class is {target!r:.40}, expected a whole number") from None
    if isinstance(image, Image.Image):
        return image.convert("RGB"), target
    return Image.fromarray(_pixels(image, name)).convert("RGB"), target


def _pixels(image: Any, name: str) -> Pixels:
    """Return uint8 [H, W, 3] or [H, W] of an array [H, W, C] or a tensor [C, H, W]."""
    is_tensor = hasattr(image, "detach")
    values = np.asarray(image.detach().cpu() if is_tensor else image)
    if values.ndim == 3 and (is_tensor or values.dtype.kind == "f"):
        values = np.moveaxis(values, 0, 2)
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[:, :, 0]
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] != 3):
        raise DatasetError(f"{name}: its image is {values.dtype} {list(np.shape(image))}; {EXPECTED}")
    if values.dtype.kind == "f":
        low, high = float(values.min()), float(values.max())
        if not 0 <= low <= high <= 1:
            raise DatasetError(
                f"{name}: its values reach from {low:.3g} to {high:.3g}, expected 0..1; leave the normalisation out, "
                "the backbone has its own"
            )
        values = np.rint(values * 255).astype(np.uint8)
    if values.dtype != np.uint8:
        raise DatasetError(f"{name}: its image is {values.dtype}; {EXPECTED}")
    return np.ascontiguousarray(values)
