"""FGVC-Aircraft, 100 variants (Maji et al. 2013), in the layout of torchvision.datasets.FGVCAircraft."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from adaptertune_deploy.core.errors import DatasetError
from adaptertune_deploy.core.progress import Progress
from adaptertune_deploy.data import downloads, listing
from adaptertune_deploy.data.readers import DrawnReader
from adaptertune_deploy.data.samples import Dataset, FileReader, Targets

NAME = "aircraft"
FOLDER = "fgvc-aircraft-2013b"
PARTS = ("train", "val", "test")
LICENCE = "for non-commercial research only (FGVC-Aircraft); the photographs' copyright stays with their owners"
SOURCE = "https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/"
BANNER = 20  # pixels


@dataclass(frozen=True)
class BannerReader(DrawnReader):
    """Images without the banner at their bottom that names the photographer, as the dataset's protocol demands.

    root: folder of the files.
    """

    root: Path

    def drawn(self, name: str) -> Image.Image:
        """Return the RGB image, 20 pixels less high than its file's.

        Raises:
            DatasetError: the file is absent, no image, or nothing but a banner.
        """
        image = FileReader(self.root).image(name)
        if image.height <= BANNER:
            raise DatasetError(
                f"{self.root / name}: is {image.height} pixels high, expected a banner of {BANNER} below a photograph"
            )
        return image.crop((0, 0, image.width, image.height - BANNER))


def open_aircraft(data_dir: Path | None, task: str | None, allow_missing: bool, progress: Progress) -> Dataset:
    """Open the official train (3,334), val (3,333) and test (3,333) images, labelled by variant ("707-320").

    Raises:
        DatasetError: absent and not downloadable, lists of another form, or listed images absent.
    """
    del progress  # torchvision shows its own bar while it downloads
    root = data_dir or Path("data") / NAME
    downloads.ensure(NAME, root, FOLDER, _complete, _download, _hint(root))
    data = root / FOLDER / "data"
    labels = tuple(line.strip() for line in (data / "variants.txt").read_text(encoding="utf-8").splitlines())
    rows = {label: row for row, label in enumerate(labels)}
    listed = {part: _read(data / f"images_variant_{part}.txt", rows) for part in PARTS}
    splits, skipped = listing.present(NAME, listed, BannerReader(data / "images"), allow_missing)
    return Dataset(
        name=NAME,
        task=task or NAME,
        labels=labels,
        train=splits["train"],
        val=splits["val"],
        test=splits["test"],
        licence=LICENCE,
        non_commercial=True,
        redistributable=False,
        augment="fine",
        notes=(f"the banner of {BANNER} pixels below each photograph is cut off", *listing.notes(skipped)),
        skipped=skipped,
    )


def _complete(folder: Path) -> bool:
    lists = ("variants.txt", *(f"images_variant_{part}.txt" for part in PARTS))
    return (folder / "data" / "images").is_dir() and all((folder / "data" / name).is_file() for name in lists)


def _download(root: Path) -> None:
    downloads.require(NAME, "torchvision")
    from torchvision.datasets import FGVCAircraft

    FGVCAircraft(str(root), download=True)


def _hint(root: Path) -> str:
    return (
        f"looked for {root / FOLDER}/data/images/*.jpg, variants.txt and images_variant_{{train,val,test}}.txt: "
        f"unpack fgvc-aircraft-2013b.tar.gz from {SOURCE} there, or name another folder with --data-dir"
    )


def _read(path: Path, rows: dict[str, int]) -> tuple[list[str], Targets]:
    """Return (file names, classes) of the lines "1025794 707-320"; a variant's name may hold blanks."""
    names, targets = [], []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        image, _, variant = line.strip().partition(" ")
        if variant not in rows:
            raise DatasetError(f"{path}:{number}: found {line!r:.60}, expected: image variant, one of variants.txt")
        names.append(f"{image}.jpg")
        targets.append(rows[variant])
    return names, np.array(targets, dtype=np.int64)
