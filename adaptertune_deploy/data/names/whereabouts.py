"""Where a task's images lay, for `atd evaluate`, without a path of this machine in what people hand on.

adapter_config.json names a dataset of the table or of the Hugging Face Hub by its name, a folder or list of one's own
below the current folder as ./its/path, any other one as .../name, and what was handed over in Python as python:name.
The full path stays in this machine's cache, under the hash of the task's tensors.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from adaptertune_deploy.core.adapter.folder import AdapterConfig
from adaptertune_deploy.core.errors import FormatError, UsageError
from adaptertune_deploy.core.storage import files
from adaptertune_deploy.core.storage.cache import cache_folder

KIND = "datasets"
ELSEWHERE = ".../"
FROM_PYTHON = "python:"
LONGEST_PATH = 1 << 16


def recorded_name(name: str, folder: Path | None) -> str:
    """Return what adapter_config.json says about the dataset.

    Args:
        name: as it was given.
        folder: the folder it lies in, or the list that names its images, when `name` is a path, else None.
    """
    if folder is None:
        return name
    path, here = _absolute(folder), Path(os.path.abspath("."))
    inside = here in path.parents
    text = f"./{path.relative_to(here).as_posix()}" if inside else f"{ELSEWHERE}{path.name}"
    return text.encode("utf-8", "replace").decode()


def remember(tensors_sha256: str, place: Path) -> None:
    """Keep in the cache where a task's images lie; where that can't be written, later commands ask."""
    path = cache_folder(KIND) / tensors_sha256
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        files.write_bytes(path, os.fsencode(_absolute(place)))


def find_dataset(config: AdapterConfig, dataset: str | None, data_dir: Path | None) -> tuple[str, Path | None]:
    """Return the name or path of a task's dataset and its data folder: as given, as remembered, else as recorded.

    Args:
        config: of the task.
        dataset: as given; None leaves it to what training left.
        data_dir: likewise.

    Raises:
        UsageError: the task was trained on images of one's own, and it is not known where they are.
    """
    recorded = config.dataset.name
    if dataset is not None:
        return dataset, data_dir
    if recorded.startswith(FROM_PYTHON):
        raise UsageError(
            f"task '{config.task.name}' was trained from Python on a dataset that only that program knows; name one "
            "with the same classes: --dataset NAME"
        )
    place = _recall(config.tensors_sha256)
    if not recorded.startswith(("./", ELSEWHERE)):
        return recorded, data_dir or place
    if place is not None:
        return str(place), data_dir
    if recorded.startswith("./") and Path(recorded).exists():
        return recorded, data_dir
    raise UsageError(
        f"task '{config.task.name}' was trained on the images in {recorded}, and no such place is known here; "
        "name it: --dataset FOLDER"
    )


def _recall(tensors_sha256: str) -> Path | None:
    try:
        place = Path(os.fsdecode(files.read_regular(cache_folder(KIND) / tensors_sha256, LONGEST_PATH)))
        return place if place.exists() else None
    except (FormatError, OSError, ValueError):
        return None


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path.expanduser()))
