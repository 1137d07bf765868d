"""Tiny datasets on disk and in memory that the tests of data/ and train/ start from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from adaptertune_deploy.data.samples import ArrayReader, Dataset, Split


def save_image(path: Path, seed: int = 0, size: tuple[int, int] = (40, 30)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def make_folder(root: Path, classes: Mapping[str, int], size: tuple[int, int] = (40, 30)) -> Path:
    """Write class folders with so many PNG files each: <class>/0.png, <class>/1.png, ..."""
    for label, count in classes.items():
        for number in range(count):
            save_image(root / label / f"{number}.png", seed=number, size=size)
    return root


def make_pets(root: Path, trainval: list[str], test: list[str]) -> Path:
    """Write the layout of Oxford-IIIT Pet; the lines are "image class species breed"."""
    base = root / "oxford-iiit-pet"
    (base / "images").mkdir(parents=True)
    (base / "annotations").mkdir()
    for name, lines in (("trainval", trainval), ("test", test)):
        (base / "annotations" / f"{name}.txt").write_text("\n".join(lines) + "\n")
        for line in lines:
            save_image(base / "images" / f"{line.split()[0]}.jpg")
    return root


def make_split(counts: list[int], prefix: str = "train", side: int = 8) -> Split:
    """Return counts[c] images of each class c in memory, in the order of the classes."""
    targets = np.repeat(np.arange(len(counts), dtype=np.int64), counts)
    names = tuple(f"{prefix}/{row}" for row in range(len(targets)))
    generator = np.random.default_rng(len(targets))
    pixels = {name: generator.integers(0, 256, (side, side, 3), dtype=np.uint8) for name in names}
    return Split(names, targets, ArrayReader(pixels))


def make_dataset(train: list[int], val: list[int] | None = None, test: list[int] | None = None) -> Dataset:
    whole = [make_split(counts or [0] * len(train), part) for part, counts in (("a", train), ("b", val), ("c", test))]
    reader = ArrayReader({name: pixels for split in whole for name, pixels in split.reader.pixels.items()})  # type: ignore[attr-defined]
    first, second, third = (Split(split.names, split.targets, reader) for split in whole)
    return Dataset(
        name="toy",
        task="toy",
        labels=tuple(f"class {number}" for number in range(len(train))),
        train=first,
        val=None if val is None else second,
        test=None if test is None else third,
        licence="CC0-1.0",
        non_commercial=False,
        redistributable=True,
        augment="plain",
    )
