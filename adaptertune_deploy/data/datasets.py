"""The table of datasets, and opening one by its name or its folder."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from adaptertune_deploy.core.errors import UsageError, did_you_mean
from adaptertune_deploy.core.progress import Progress, silent
from adaptertune_deploy.data.own_folders import check_not_own
from adaptertune_deploy.data.samples import Dataset
from adaptertune_deploy.data.sources import digits, flowers, pets, shapes
from adaptertune_deploy.data.sources.folder import open_folder, read_layout
from adaptertune_deploy.data.task_names import check_task_option, task_of_folder

# (data folder, task name, leave absent images out, progress) -> dataset
Open: TypeAlias = Callable[[Path | None, str | None, bool, Progress], Dataset]

TABLE: dict[str, Open] = {
    pets.NAME: pets.open_pets,
    flowers.NAME: flowers.open_flowers,
    digits.NAME: digits.open_digits,
    shapes.NAME: shapes.open_shapes,
}
# Datasets that lie in no folder of theirs, and where they come from.
FOLDERLESS = {digits.NAME: "comes with scikit-learn", shapes.NAME: "is generated"}
KNOWN_FOLDERS = {pets.NAME: pets.FOLDER, flowers.NAME: flowers.FOLDER}


def check_dataset(name: str, data_dir: Path | None = None, task: str | None = None) -> tuple[str, Path | None]:
    """Find what open_dataset would refuse for names and folders alone; nothing is decoded or downloaded.

    The arguments are those of open_dataset.

    Returns:
        The task's name, and the dataset's folder when `name` is the path of one.

    Raises:
        UsageError: neither a dataset nor a folder of images, or a task name that no file could have.
        DatasetError: a folder laid out in another way.
    """
    if task is not None:
        check_task_option(task)
    if name in TABLE:
        if data_dir is not None and name in FOLDERLESS:
            raise UsageError(f"--data-dir: {name} {FOLDERLESS[name]} and reads no folder; leave the option out")
        return task or name, None
    root = Path(name).expanduser()
    if not name or not root.is_dir():
        what = "is a file, not a folder" if root.is_file() else "is neither a dataset nor a folder"
        raise UsageError(
            f"--dataset {name}: {what}.{did_you_mean(name, TABLE)} Known: {', '.join(TABLE)}, or the path of a folder "
            "with one folder of images per class"
        )
    if data_dir is not None:
        raise UsageError(f"--data-dir: {name} is a folder already; leave the option out")
    for known, folder in KNOWN_FOLDERS.items():
        if (root / folder).is_dir():
            raise UsageError(
                f"--dataset {name}: this is the layout of {known}; use --dataset {known} --data-dir {shlex.quote(name)}"
            )
    check_not_own(root, name)
    read_layout(root)
    return task or task_of_folder(root.resolve().name), root


def open_dataset(
    name: str,
    data_dir: Path | None = None,
    task: str | None = None,
    allow_missing: bool = False,
    progress: Progress = silent,
) -> Dataset:
    """Open a dataset of the table, or a folder of images when `name` is the path of one.

    Args:
        name: a name of the table, or a path. A name of the table wins over a folder called the same; write
            ./pets for the folder.
        data_dir: the folder that holds a dataset of the table; data/<name> in the current folder by default.
        task: the task's name; the dataset's or the folder's by default.
        allow_missing: leave out images that the dataset lists and that are absent.
        progress: told about work that takes a while.

    Raises:
        UsageError: see check_dataset.
        DatasetError: absent, incomplete, or laid out in another way.
    """
    task, root = check_dataset(name, data_dir, task)
    return TABLE[name](data_dir, task, allow_missing, progress) if root is None else open_folder(root, name, task)
