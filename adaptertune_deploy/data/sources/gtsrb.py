"""German Traffic Sign Recognition Benchmark (Stallkamp et al. 2012) in the layout of torchvision.datasets.GTSRB."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from adaptertune_deploy.core.errors import DatasetError
from adaptertune_deploy.core.progress import Progress
from adaptertune_deploy.data import downloads, listing
from adaptertune_deploy.data.readers import DrawnReader
from adaptertune_deploy.data.samples import Dataset, Targets

NAME = "gtsrb"
FOLDER = "gtsrb"
TRAIN = "GTSRB/Training"
TEST = "GTSRB/Final_Test/Images"
ANSWERS = "GT-final_test.csv"
LICENCE = "not stated in full by GTSRB; check the terms before you use it"
SOURCE = "https://benchmark.ini.rub.de/"
# In the order of ClassId 0 to 42.
LABELS = (
    "speed limit 20", "speed limit 30", "speed limit 50", "speed limit 60", "speed limit 70", "speed limit 80",
    "end of speed limit 80", "speed limit 100", "speed limit 120", "no passing", "no passing for trucks",
    "priority at the next crossing", "priority road", "give way", "stop", "no vehicles", "no trucks", "no entry",
    "danger", "bend to the left", "bend to the right", "double bend", "uneven road", "slippery road",
    "road narrows on the right", "road works", "traffic lights", "pedestrians", "children", "bicycles", "ice or snow",
    "wild animals", "end of all limits", "turn right ahead", "turn left ahead", "straight on", "straight on or right",
    "straight on or left", "pass on the right", "pass on the left", "roundabout", "end of no passing",
    "end of no passing for trucks",
)  # fmt: skip


@dataclass(frozen=True)
class PpmReader(DrawnReader):
    """Images that are PPM files, a format that no server takes: they are handed on as PNG.

    root: folder of the files.
    """

    root: Path

    def drawn(self, name: str) -> Image.Image:
        """Return the RGB image.

        Raises:
            DatasetError: the file is absent or no PPM.
        """
        path = self.root / name
        try:
            with Image.open(path, formats=("PPM",)) as image:
                return image.convert("RGB")
        except Exception as error:  # Pillow raises more than a dozen types on damaged data
            raise DatasetError(
                f"{path}: is no readable PPM image ({error!s:.80}); replace or remove this file"
            ) from error


def open_gtsrb(data_dir: Path | None, task: str | None, allow_missing: bool, progress: Progress) -> Dataset:
    """Open the 26,640 training images of torchvision's archive and the 12,630 of the final test, 43 classes.

    Raises:
        DatasetError: absent and not downloadable, laid out in another way, or listed images absent.
    """
    del progress  # torchvision shows its own bar while it downloads
    root = data_dir or Path("data") / NAME
    downloads.ensure(NAME, root, FOLDER, _complete, _download, _hint(root))
    folder = root / FOLDER
    listed = {"train": _train(folder), "test": _test(folder)}
    splits, skipped = listing.present(NAME, listed, PpmReader(folder), allow_missing)
    return Dataset(
        name=NAME,
        task=task or NAME,
        labels=LABELS,
        train=splits["train"],
        val=None,
        test=splits["test"],
        licence=LICENCE,
        non_commercial=None,
        redistributable=False,
        augment="signs",
        notes=listing.notes(skipped),
        skipped=skipped,
    )


def _complete(folder: Path) -> bool:
    return (folder / TRAIN).is_dir() and (folder / TEST).is_dir() and (folder / ANSWERS).is_file()


def _download(root: Path) -> None:
    downloads.require(NAME, "torchvision")
    from torchvision.datasets import GTSRB

    for part in ("train", "test"):
        GTSRB(str(root), split=part, download=True)


def _hint(root: Path) -> str:
    return (
        f"looked for {root / FOLDER}/{TRAIN}/00000/*.ppm to 00042/, {TEST}/*.ppm and {ANSWERS}: unpack "
        f"GTSRB-Training_fixed.zip, GTSRB_Final_Test_Images.zip and GTSRB_Final_Test_GT.zip from {SOURCE} there, "
        "or name another folder with --data-dir"
    )


def _train(folder: Path) -> tuple[list[str], Targets]:
    names, targets = [], []
    for row in range(len(LABELS)):
        images = sorted(path.name for path in (folder / TRAIN / f"{row:05d}").glob("*.ppm"))
        names += [f"{TRAIN}/{row:05d}/{image}" for image in images]
        targets += [row] * len(images)
    return names, np.array(targets, dtype=np.int64)


def _test(folder: Path) -> tuple[list[str], Targets]:
    """Return (file names, classes) of the lines "00000.ppm;53;54;6;5;48;49;16" under their header."""
    names, targets = [], []
    with (folder / ANSWERS).open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream, delimiter=";", skipinitialspace=True):
            name, target = row.get("Filename") or "", row.get("ClassId") or ""
            if not name or not target.isdigit() or int(target) >= len(LABELS):
                raise DatasetError(f"{folder / ANSWERS}: found {name!r:.60} of class {target!r:.20}, expected 0 to 42")
            names.append(f"{TEST}/{name}")
            targets.append(int(target))
    return names, np.array(targets, dtype=np.int64)
