"""PatchCamelyon (Veeling et al. 2018) in the layout of torchvision.datasets.PCAM: HDF5 files, read image by image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from adaptertune_deploy.core.errors import DatasetError
from adaptertune_deploy.core.progress import Progress
from adaptertune_deploy.data import downloads
from adaptertune_deploy.data.readers import DrawnReader
from adaptertune_deploy.data.samples import Dataset, Split
from adaptertune_deploy.data.sources.stacks import row_names

NAME = "pcam"
FOLDER = "pcam"
PARTS = {"train": "train", "val": "valid", "test": "test"}
LABELS = ("no tumour", "tumour")
LICENCE = "CC0, as reported for PatchCamelyon (from Camelyon16); check the terms before you use it"
SOURCE = "https://github.com/basveeling/pcam"


@dataclass(frozen=True)
class Hdf5Reader(DrawnReader):
    """Images by names like "train/00042", the row 42 of x in that part's file.

    root: folder of the files. A file is opened for each image, so that worker processes share no handle.
    """

    root: Path

    def drawn(self, name: str) -> Image.Image:
        """Return the RGB image.

        Raises:
            DatasetError: the file is absent or damaged.
        """
        import h5py

        part, _, row = name.rpartition("/")
        path = _file(self.root, part, "x")
        try:
            with h5py.File(path, "r") as stream:
                return Image.fromarray(np.asarray(stream["x"][int(row)], dtype=np.uint8)).convert("RGB")
        except (OSError, KeyError, ValueError, TypeError) as error:
            raise DatasetError(f"{path}: image {row} is not readable ({error!s:.80}); get the file again") from None


def open_pcam(data_dir: Path | None, task: str | None, allow_missing: bool, progress: Progress) -> Dataset:
    """Open the official train (262,144), val (32,768) and test (32,768) patches, 96 x 96 pixels.

    Raises:
        DatasetError: h5py is not installed, absent and not downloadable, or damaged files.
    """
    del allow_missing, progress
    downloads.require(NAME, "h5py", install="h5py")
    root = data_dir or Path("data") / NAME
    downloads.ensure(NAME, root, FOLDER, _complete, _download, _hint(root))
    reader = Hdf5Reader(root / FOLDER)
    splits = {part: _split(reader, part) for part in PARTS}
    return Dataset(
        name=NAME,
        task=task or NAME,
        labels=LABELS,
        train=splits["train"],
        val=splits["val"],
        test=splits["test"],
        licence=LICENCE,
        non_commercial=None,
        redistributable=False,
        augment="small",
    )


def _file(folder: Path, part: str, key: str) -> Path:
    return folder / f"camelyonpatch_level_2_split_{PARTS[part]}_{key}.h5"


def _complete(folder: Path) -> bool:
    return all(_file(folder, part, key).is_file() for part in PARTS for key in "xy")


def _download(root: Path) -> None:
    downloads.require(NAME, "torchvision")
    from torchvision.datasets import PCAM

    for part in PARTS:
        PCAM(str(root), split=part, download=True)


def _hint(root: Path) -> str:
    return (
        f"looked for camelyonpatch_level_2_split_{{train,valid,test}}_{{x,y}}.h5 in {root / FOLDER}: get the six from "
        f"{SOURCE} and unpack them there, or name another folder with --data-dir"
    )


def _split(reader: Hdf5Reader, part: str) -> Split:
    import h5py

    path, images = _file(reader.root, part, "y"), _file(reader.root, part, "x")
    try:
        with h5py.File(path, "r") as labels, h5py.File(images, "r") as pixels:
            targets = np.asarray(labels["y"], dtype=np.int64).reshape(-1)
            if len(pixels["x"]) != len(targets):
                raise ValueError(f"{len(targets):,} labels for {len(pixels['x']):,} images")
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise DatasetError(
            f"{path}: is damaged ({error!s:.80}); get it and {images.name} again from {SOURCE}"
        ) from None
    return Split(row_names(part, len(targets)), targets, reader)
