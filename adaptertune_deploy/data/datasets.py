"""Opening a dataset by its name, or by the place of one's own images.

Own images are a folder with one folder per class, a list of files and labels, or a dataset of Hugging Face. What each
of them is, is decided here; how it is read, in data.sources.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from adaptertune_deploy.core.errors import UsageError, did_you_mean
from adaptertune_deploy.core.progress import Progress, silent
from adaptertune_deploy.data.names import hub_names
from adaptertune_deploy.data.names.task_names import check_task_option, task_of_folder
from adaptertune_deploy.data.table import LIST_SUFFIXES, TABLE, opener, recognised

if TYPE_CHECKING:
    from adaptertune_deploy.data.samples import Dataset

OWN = (
    "the path of a folder with one folder of images per class, or of a .csv, .tsv or .parquet list of images and "
    f"labels, or {hub_names.FORM}"
)


def check_dataset(name: str, data_dir: Path | None = None, task: str | None = None) -> tuple[str, Path | None]:
    """Find what open_dataset would refuse for names, folders and lists alone; nothing is decoded or downloaded.

    The arguments are those of open_dataset.

    Returns:
        The task's name, and the dataset's folder or list when `name` is the path of one.

    Raises:
        UsageError: no dataset, or a task name that no file could have.
        DatasetError: a folder or a list laid out in another way.
    """
    if task is not None:
        check_task_option(task)
    if name in TABLE:
        if data_dir is not None and (comes := TABLE[name].comes):
            raise UsageError(f"--data-dir: {name} {comes} and reads no folder; leave the option out")
        return task or name, None
    if hub_names.is_hub_name(name):
        if data_dir is not None:
            raise UsageError(f"--data-dir: {name} lies in the cache of Hugging Face; leave the option out")
        return task or task_of(name), None
    root = Path(name).expanduser()
    if not name or not (root.is_dir() or _is_list(root)):
        what = "is a file, not a folder" if root.is_file() else "is neither a dataset nor a folder nor a list"
        raise UsageError(
            f"--dataset {name}: {what}.{did_you_mean(name, TABLE)} Known: {', '.join(TABLE)}; or give {OWN}"
        )
    if data_dir is not None:
        kind = "a folder" if root.is_dir() else "a list"
        raise UsageError(f"--data-dir: {name} is {kind} already; leave the option out")
    if _is_list(root):
        from adaptertune_deploy.data.sources.lists.labelled import check_list

        check_list(root)
    else:
        _check_folder(root, name)
    return task or task_of(name), root


def task_of(name: str) -> str:
    """Return the name of the task that is trained on a dataset when none is given; nothing is read.

    Raises:
        UsageError: a folder's or a list's name that no task can have, with one that would do.
    """
    if name in TABLE:
        return name
    if hub_names.is_hub_name(name):
        return hub_names.parse(name).task
    root = Path(name).expanduser()
    return task_of_folder(root.resolve().stem, "file") if _is_list(root) else task_of_folder(root.resolve().name)


def open_dataset(
    name: str,
    data_dir: Path | None = None,
    task: str | None = None,
    allow_missing: bool = False,
    progress: Progress = silent,
) -> Dataset:
    """Open a dataset of the table, one of the Hugging Face Hub, or one's own folder or list of images.

    Args:
        name: a name of the table, hf:OWNER/NAME, or a path. A name of the table wins over a folder called the same;
            write ./pets for the folder.
        data_dir: the folder that holds a dataset of the table; data/<name> in the current folder by default.
        task: the task's name; the dataset's, the folder's or the list's by default.
        allow_missing: leave out images that the dataset lists and that are absent.
        progress: told about work that takes a while.

    Raises:
        UsageError: see check_dataset.
        DatasetError: absent, incomplete, or laid out in another way.
    """
    task, root = check_dataset(name, data_dir, task)
    if name in TABLE:
        return opener(name)(data_dir, task, allow_missing, progress)
    if root is None:
        from adaptertune_deploy.data.sources.huggingface import open_hub

        return open_hub(name, task)
    if _is_list(root):
        from adaptertune_deploy.data.sources.lists.labelled import open_list

        return open_list(root, name, task, allow_missing)
    if hub_names.is_saved(root):
        from adaptertune_deploy.data.sources.huggingface import open_saved

        return open_saved(root, name, task)
    from adaptertune_deploy.data.sources.folder import open_folder

    return open_folder(root, name, task)


def _is_list(path: Path) -> bool:
    return path.suffix.lower() in LIST_SUFFIXES and path.is_file()


def _check_folder(root: Path, name: str) -> None:
    from adaptertune_deploy.data.names.own_folders import check_not_own

    if known := recognised(root):
        raise UsageError(
            f"--dataset {name}: this is the layout of {known}; use --dataset {known} --data-dir {shlex.quote(name)}"
        )
    check_not_own(root, name)
    if not hub_names.is_saved(root):
        from adaptertune_deploy.data.sources.folder import read_layout

        read_layout(root)
