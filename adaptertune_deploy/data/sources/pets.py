"""Oxford-IIIT Pet (Parkhi et al. 2012) in the layout of torchvision.datasets.OxfordIIITPet."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from adaptertune_deploy.core.errors import DatasetError
from adaptertune_deploy.core.progress import Progress
from adaptertune_deploy.data import downloads, listing
from adaptertune_deploy.data.samples import Dataset, FileReader

NAME = "pets"
FOLDER = "oxford-iiit-pet"
LICENCE = "CC BY-SA 4.0 (Oxford-IIIT Pet); the photographs' copyright stays with their owners"
SOURCE = "https://www.robots.ox.ac.uk/~vgg/data/pets/"

Entries = list[tuple[str, int]]


def open_pets(data_dir: Path | None, task: str | None, allow_missing: bool, progress: Progress) -> Dataset:
    """Open the official trainval and test splits; labels come from the annotation files ("american bulldog").

    The annotation files decide how many classes there are, so a selection of breeds works too.

    Raises:
        DatasetError: absent and not downloadable, annotation files of another form, or listed images absent.
    """
    del progress  # torchvision shows its own bar while it downloads
    root = data_dir or Path("data") / NAME
    downloads.ensure(NAME, root, FOLDER, _complete, _download, _hint(root))
    annotations = root / FOLDER / "annotations"
    entries = {split: _read(annotations / f"{split}.txt") for split in ("trainval", "test")}
    labels = _labels(entries["trainval"] + entries["test"], annotations)
    reader = FileReader(root / FOLDER / "images")
    listed = {
        split: ([f"{image}.jpg" for image, _ in rows], np.array([target for _, target in rows], dtype=np.int64))
        for split, rows in entries.items()
    }
    splits, skipped = listing.present(NAME, listed, reader, allow_missing)
    return Dataset(
        name=NAME,
        task=task or NAME,
        labels=labels,
        train=splits["trainval"],
        val=None,
        test=splits["test"],
        licence=LICENCE,
        non_commercial=False,
        redistributable=False,
        hub_id="timm/oxford-iiit-pet",
        augment="fine",
        notes=listing.notes(skipped),
        skipped=skipped,
    )


def _complete(folder: Path) -> bool:
    annotations = folder / "annotations"
    return (folder / "images").is_dir() and all((annotations / f"{s}.txt").is_file() for s in ("trainval", "test"))


def _download(root: Path) -> None:
    downloads.require(NAME, "torchvision")
    from torchvision.datasets import OxfordIIITPet

    OxfordIIITPet(str(root), split="trainval", target_types="category", download=True)


def _hint(root: Path) -> str:
    return (
        f"looked for {root / FOLDER}/images/*.jpg and {root / FOLDER}/annotations/trainval.txt and test.txt: "
        f"unpack images.tar.gz and annotations.tar.gz from {SOURCE} there, or name another folder with --data-dir"
    )


def _read(path: Path) -> Entries:
    """Return (image name, class from 0) of each line "name class species breed"."""
    entries: Entries = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        fields = line.split()
        if not fields or line.startswith("#"):
            continue
        if len(fields) != 4 or not fields[1].isdigit() or int(fields[1]) < 1:
            raise DatasetError(f"{path}:{number}: found {line!r:.60}, expected: image class species breed")
        entries.append((fields[0], int(fields[1]) - 1))
    return entries


def _labels(entries: Entries, annotations: Path) -> tuple[str, ...]:
    """Return each class's name, which is its images' name without the number, underscores as blanks."""
    names: dict[int, str] = {}
    for image, target in entries:
        breed = image.rpartition("_")[0].replace("_", " ")
        if names.setdefault(target, breed) != breed:
            raise DatasetError(f"{annotations}: class {target + 1} is both '{names[target]}' and '{breed}'")
    if sorted(names) != list(range(len(names))):
        missing = min(set(range(len(names))) - set(names)) + 1
        raise DatasetError(f"{annotations}: class {missing} has no image; expected classes 1, 2, ... without a gap")
    return tuple(names[target] for target in range(len(names)))
