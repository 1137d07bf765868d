"""The table of datasets, and opening one by its name or its folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from adaptertune_deploy.core.errors import UsageError, did_you_mean
from adaptertune_deploy.core.progress import Progress, silent
from adaptertune_deploy.core.spec import check_task_name
from adaptertune_deploy.train import digits, flowers, pets, shapes
from adaptertune_deploy.train.folder import open_folder
from adaptertune_deploy.train.samples import Dataset

# (data folder, task name, leave absent images out, progress) -> dataset
Open: TypeAlias = Callable[[Path | None, str | None, bool, Progress], Dataset]

TABLE: dict[str, Open] = {
    pets.NAME: pets.open_pets,
    flowers.NAME: flowers.open_flowers,
    digits.NAME: digits.open_digits,
    shapes.NAME: shapes.open_shapes,
}


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
        UsageError: neither a dataset nor a folder, or a task name that no file could have.
        DatasetError: absent, incomplete, or laid out in another way.
    """
    if task is not None:
        try:
            check_task_name(task)
        except ValueError as error:
            raise UsageError(f"--task: {error}") from None
    if name in TABLE:
        return TABLE[name](data_dir, task, allow_missing, progress)
    root = Path(name).expanduser()
    if not root.is_dir():
        what = "is a file, not a folder" if root.exists() else "is neither a dataset nor a folder"
        raise UsageError(
            f"--dataset {name}: {what}.{did_you_mean(name, TABLE)} Known: {', '.join(TABLE)}, or the path of a folder "
            "with one folder of images per class"
        )
    if data_dir is not None:
        raise UsageError(f"--data-dir: {name} is a folder already; leave the option out")
    for known, folder in ((pets.NAME, pets.FOLDER), (flowers.NAME, flowers.FOLDER)):
        if (root / folder).is_dir():
            raise UsageError(
                f"--dataset {name}: this is the layout of {known}; use --dataset {known} --data-dir {name}"
            )
    return open_folder(root, name, task)
