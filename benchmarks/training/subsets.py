"""Folders made of links to a part of another folder's images: few of every class, or unequal numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

# Ten classes of 160 to 4 images, a constant ratio apart.
UNEQUAL = (160, 106, 71, 47, 31, 21, 14, 9, 6, 4)


def link_subset(source: Path, target: Path, counts: Mapping[str, int]) -> Path:
    """Make an image folder with some training images of each class of another one, and all its test images.

    Args:
        source: holds train/<class>/* and test/<class>/*.
        target: the new folder; what is there already is kept.
        counts: class -> number of training images.

    Returns:
        `target`. Which images are taken follows from a hash of their names.
    """
    for label, count in counts.items():
        images = sorted((source / "train" / label).iterdir(), key=lambda path: _rank(path.name))
        if len(images) < count:
            raise ValueError(f"{source}/train/{label} holds {len(images)} images, expected at least {count}")
        for part, chosen in (("train", images[:count]), ("test", sorted((source / "test" / label).iterdir()))):
            folder = target / part / label
            folder.mkdir(parents=True, exist_ok=True)
            for image in chosen:
                link = folder / image.name
                if not link.is_symlink():
                    link.symlink_to(image.resolve())
    return target


def few_of_each(source: Path, target: Path, count: int) -> Path:
    """Make a folder with `count` training images of every class; see link_subset."""
    return link_subset(source, target, dict.fromkeys(_classes(source), count))


def unequal(source: Path, target: Path) -> Path:
    """Make a folder whose classes, in alphabetical order, have the numbers of training images of UNEQUAL."""
    return link_subset(source, target, dict(zip(_classes(source), UNEQUAL, strict=True)))


def _classes(source: Path) -> list[str]:
    return sorted(path.name for path in (source / "train").iterdir() if path.is_dir())


def _rank(name: str) -> bytes:
    return hashlib.sha256(f"subset:{name}".encode()).digest()
