"""A task's name, and the nearest one that a file can carry."""

from __future__ import annotations

import re
import unicodedata

from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.core.spec import check_task_name

LONGEST = 64


def check_task_option(name: str) -> None:
    """Raise UsageError, with a name that would do, unless `name` can name a task."""
    try:
        check_task_name(name)
    except ValueError as error:
        raise UsageError(f"--task: {error}{_advice(name, '; use')}") from None


def task_of_folder(name: str, what: str = "folder") -> str:
    """Return the name of a folder, or of `what` else, as the task's, or raise UsageError with one that would do."""
    try:
        check_task_name(name)
    except ValueError:
        raise UsageError(f"the {what}'s name {name!r:.80} can't name a task{_advice(name, '; add')}") from None
    return name


def slug(name: str) -> str:
    """Return the nearest task name, "my-pets" for "My pets!", or "" where nothing of a name is left."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    words = re.sub(r"[^A-Za-z0-9_]+", "-", plain).strip("-_").lower()
    return words[:LONGEST].rstrip("-_")


def _advice(name: str, verb: str) -> str:
    return f"{verb} --task {slug(name) or 'NAME'}"
