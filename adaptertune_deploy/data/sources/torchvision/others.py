"""Other classification datasets that torchvision reads, through one adapter over its classes.

Its public interface is enough. A class that opens files takes a `loader` or a `transform`: one that hands on the
file's path gives every path and class, and nothing is decoded. A class that holds small images is read once.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from adaptertune_deploy.core.errors import DatasetError
from adaptertune_deploy.core.progress import Progress
from adaptertune_deploy.data import downloads
from adaptertune_deploy.data.samples import Dataset, FileReader, Pixels, Split, Targets
from adaptertune_deploy.data.sources.stacks import StackReader
from adaptertune_deploy.data.sources.torchvision.facts import OTHERS, Other

STEP = 1000  # images between two reports of progress


def open_other(name: str, data_dir: Path | None, task: str | None, allow_missing: bool, progress: Progress) -> Dataset:
    """Open a dataset of facts.OTHERS in the layout of torchvision's class.

    Raises:
        DatasetError: a module that it needs is not installed, absent and not downloadable, laid out in another way,
            or images without labels.
    """
    del allow_missing  # torchvision lists what is there, or refuses
    other = OTHERS[name]
    downloads.require(name, "torchvision", *other.needs)
    root = data_dir or Path("data") / name
    downloads.ensure(name, root, other.folder, partial(_complete, other), partial(_download, other), _hint(other, root))
    try:
        peers = {part: _peer(other, root, arguments) for part, arguments in other.parts.items()}
        labels = other.labels or _labels(peers["train"])
        splits = _stacks(other, peers, progress) if other.reads == "items" else _files(peers, root)
    except DatasetError as error:
        raise DatasetError(f"{name}: {error}") from None
    except Exception as error:  # whatever a class of torchvision raises on files of another form
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DatasetError(
            f"{name}: {root / other.folder} can't be read ({reason:.200}); {_hint(other, root)}"
        ) from error
    splits = {part: Split(split.names, split.targets - other.first, split.reader) for part, split in splits.items()}
    return Dataset(
        name=name,
        task=task or name,
        labels=labels,
        train=splits["train"],
        val=splits.get("val"),
        test=splits.get("test"),
        licence=other.licence,
        non_commercial=other.non_commercial,
        redistributable=False,
        augment=other.augment,
        hub_id=other.hub_id,
    )


def _complete(other: Other, folder: Path) -> bool:
    return all((folder / file).exists() for file in other.holds)


def _download(other: Other, root: Path) -> None:
    if not other.downloads:
        raise OSError("torchvision has no download of it")
    for arguments in other.parts.values():
        _class(other)(str(root), **arguments, download=True)


def _class(other: Other) -> Any:
    import torchvision.datasets

    return getattr(torchvision.datasets, other.peer)


def _hint(other: Other, root: Path) -> str:
    return (
        f"looked for {', '.join(other.holds)} in {root / other.folder}, the layout of torchvision's {other.peer}: "
        f"get it from {other.source}, or name another folder with --data-dir"
    )


def _peer(other: Other, root: Path, arguments: Mapping[str, Any]) -> Any:
    """Return torchvision's dataset of one part; an item of one that opens files is (path, class)."""
    handing_on: dict[str, Any] = {}
    if other.reads == "loader":
        handing_on["loader"] = os.fspath
    elif other.reads == "transform":
        handing_on["transform"] = _path_of
    return _class(other)(str(root), **arguments, **handing_on)


def _path_of(image: Image.Image) -> str:
    """Return the file of an image that was opened and not decoded, and close it."""
    with image:
        return str(image.filename)  # type: ignore[attr-defined]


def _labels(peer: Any) -> tuple[str, ...]:
    names = getattr(peer, "classes", None) or peer.categories
    return tuple(str(name).replace("_", " ").strip() for name in names)


def _files(peers: Mapping[str, Any], root: Path) -> dict[str, Split]:
    """Return the splits of a dataset of files, sorted by name: a class may list them as the disk does."""
    reader = FileReader(root)
    splits = {}
    for part, peer in peers.items():
        items = [peer[row] for row in range(len(peer))]
        named = sorted((Path(path).relative_to(root).as_posix(), target) for path, target in items)
        splits[part] = Split(tuple(name for name, _ in named), _targets(part, [target for _, target in named]), reader)
    return splits


def _stacks(other: Other, peers: Mapping[str, Any], progress: Progress) -> dict[str, Split]:
    """Return the splits of a dataset of small images, which are read into memory."""
    stacks: dict[str, Pixels] = {}
    targets: dict[str, Targets] = {}
    for part, peer in peers.items():
        found = []
        for row in range(len(peer)):
            if row % STEP == 0:
                progress(f"reading {other.peer} {part}", row, len(peer))
            image, target = peer[row]
            pixels = np.asarray(image).T if other.transposed else np.asarray(image)
            if row == 0:
                stacks[part] = np.empty((len(peer), *pixels.shape), dtype=np.uint8)
            stacks[part][row] = pixels
            found.append(target)
        progress(f"reading {other.peer} {part}", len(peer), len(peer))
        targets[part] = _targets(part, found)
    reader = StackReader(stacks)
    return {part: reader.split(part, targets[part]) for part in peers}


def _targets(part: str, found: list[Any]) -> Targets:
    if unlabelled := sum(target is None or int(target) < 0 for target in found):
        raise DatasetError(f"{unlabelled:,} of {len(found):,} images of {part} have no label; get files that hold them")
    return np.array(found, dtype=np.int64)
