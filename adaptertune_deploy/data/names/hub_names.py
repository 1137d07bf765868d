"""How a dataset of Hugging Face is spelt, and how one that was saved to a folder is recognised."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.data.names.task_names import slug

PREFIX = "hf:"
FORM = "hf:OWNER/NAME[/CONFIG][:LABEL_COLUMN]"
PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class HubName:
    """A dataset on the Hub.

    repository: OWNER/NAME.
    config: the name of one of its configurations; None takes its default.
    label: the column of labels; None finds it.
    """

    repository: str
    config: str | None
    label: str | None

    @property
    def task(self) -> str:
        """Name of the task that is trained on it."""
        return slug(self.repository.rpartition("/")[2])


def is_hub_name(name: str) -> bool:
    """Tell whether a --dataset means a dataset of the Hub."""
    return name.startswith(PREFIX)


def parse(name: str) -> HubName:
    """Read hf:OWNER/NAME[/CONFIG][:LABEL_COLUMN].

    Raises:
        UsageError: another form.
    """
    place, colon, label = name.removeprefix(PREFIX).partition(":")
    parts = place.split("/")
    if len(parts) not in (2, 3) or not all(PART.fullmatch(part) for part in parts) or (colon and not label):
        raise UsageError(f"--dataset {name}: expected {FORM}, for instance hf:uoft-cs/cifar100:fine_label")
    return HubName("/".join(parts[:2]), parts[2] if len(parts) == 3 else None, label or None)


def is_saved(folder: Path) -> bool:
    """Tell whether `datasets` wrote this folder with save_to_disk."""
    whole = (folder / "state.json").is_file() and (folder / "dataset_info.json").is_file()
    return whole or (folder / "dataset_dict.json").is_file()
