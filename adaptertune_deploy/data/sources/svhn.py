"""Street View House Numbers (Netzer et al. 2011), cropped digits, in the layout of torchvision.datasets.SVHN."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from adaptertune_deploy.core.errors import DatasetError
from adaptertune_deploy.core.progress import Progress
from adaptertune_deploy.data import downloads
from adaptertune_deploy.data.samples import Dataset, Pixels, Targets
from adaptertune_deploy.data.sources.stacks import StackReader

NAME = "svhn"
FILES = {"train": "train_32x32.mat", "test": "test_32x32.mat"}
LICENCE = "not stated in full by SVHN, which is reported to be for non-commercial use only; check the terms first"
SOURCE = "http://ufldl.stanford.edu/housenumbers/"


def open_svhn(data_dir: Path | None, task: str | None, allow_missing: bool, progress: Progress) -> Dataset:
    """Open the official train (73,257) and test (26,032) digits, 32 x 32 pixels; the 531,131 `extra` ones stay out.

    The files call the digit 0 class 10; here it is class 0.

    Raises:
        DatasetError: scipy is not installed, absent and not downloadable, or damaged .mat files.
    """
    del allow_missing
    downloads.require(NAME, "scipy")
    root = data_dir or Path("data") / NAME
    downloads.ensure(NAME, root, "", _complete, _download, _hint(root))
    stacks: dict[str, Pixels] = {}
    targets: dict[str, Targets] = {}
    for number, (part, file) in enumerate(FILES.items()):
        progress(f"reading {NAME}", number, len(FILES))
        stacks[part], targets[part] = _read(root / file)
    progress(f"reading {NAME}", len(FILES), len(FILES))
    reader = StackReader(stacks)
    return Dataset(
        name=NAME,
        task=task or NAME,
        labels=tuple(str(digit) for digit in range(10)),
        train=reader.split("train", targets["train"]),
        val=None,
        test=reader.split("test", targets["test"]),
        licence=LICENCE,
        non_commercial=True,
        redistributable=False,
        augment="digits-in-scene",
        hub_id="ufldl-stanford/svhn",
    )


def _complete(root: Path) -> bool:
    return all((root / file).is_file() for file in FILES.values())


def _download(root: Path) -> None:
    downloads.require(NAME, "torchvision")
    from torchvision.datasets import SVHN

    for part in FILES:
        SVHN(str(root), split=part, download=True)


def _hint(root: Path) -> str:
    return (
        f"looked for {' and '.join(FILES.values())} in {root}: get both from {SOURCE} (format 2), "
        "or name another folder with --data-dir"
    )


def _read(path: Path) -> tuple[Pixels, Targets]:
    """Return uint8 [N, 32, 32, 3] and int64 [N] from X [32, 32, 3, N] and y [N, 1]."""
    from scipy.io import loadmat

    try:
        content = loadmat(path, variable_names=("X", "y"))
        pixels, classes = content["X"], np.ravel(content["y"]).astype(np.int64)
        if pixels.dtype != np.uint8 or pixels.shape != (32, 32, 3, len(classes)):
            raise ValueError(f"X is {pixels.dtype} {list(pixels.shape)} for {len(classes)} classes")
    except Exception as error:  # scipy raises a dozen types on damaged files
        raise DatasetError(
            f"{path}: is damaged ({type(error).__name__}: {error!s:.80}); get it again from {SOURCE}"
        ) from error
    classes[classes == 10] = 0
    return np.ascontiguousarray(pixels.transpose(3, 0, 1, 2)), classes
