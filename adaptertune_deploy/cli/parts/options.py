"""Options: how one is declared, those that several commands share, and checks of their values."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from adaptertune_deploy.cli.terminal import completion
from adaptertune_deploy.core.errors import UsageError, did_you_mean

# The groups of options in every command's help.
DATA, ADAPTER, CHOICE, TRAINING, ENGINE = "Data", "Adapter", "Comparison", "Training", "Engine"
LIMITS = "Limits"
PLACES, OUTPUT = "Where things lie", "Output"
ALL_TASKS = "all of them"


def value(
    name: str,
    metavar: str,
    group: str,
    text: str,
    default: str | None = None,
    complete: Callable[..., list[str]] | None = None,
    variable: str | None = None,
) -> Any:
    """Declare an option that takes a value.

    Args:
        name: "--rank".
        metavar: what the help calls the value.
        group: of the help.
        text: what it means.
        default: how the help words the default; None shows the value itself.
        complete: completes the value in the shell; see cli.completion.
        variable: of the environment, that sets it too.
    """
    return typer.Option(
        name,
        metavar=metavar,
        help=text,
        show_default=True if default is None else default,
        autocompletion=complete,
        envvar=variable,
        rich_help_panel=group,
    )


def flag(name: str, group: str, text: str, default: str | None = None, variable: str | None = None) -> Any:
    """Declare an option that takes no value; see `value`."""
    shown = False if default is None else default
    return typer.Option(name, help=text, show_default=shown, envvar=variable, rich_help_panel=group)


AdaptersDir = Annotated[Path, value("--adapters-dir", "FOLDER", PLACES, "Folder that holds the adapter folders.")]
Bundle = Annotated[Path, value("--bundle", "FOLDER", PLACES, "Folder that atd export wrote.")]
DataDir = Annotated[
    Path | None,
    value("--data-dir", "FOLDER", PLACES, "Where the dataset lies, or is downloaded to.", "data/DATASET"),
]
Weights = Annotated[
    Path | None,
    value(
        "--weights",
        "FILE",
        PLACES,
        "The backbone's weights, for machines without a network; kept in $ATD_CACHE for the next command.",
        "the cache, else a download",
    ),
]
AllowMissing = Annotated[bool, flag("--allow-missing", DATA, "Skip images that the dataset lists and that are absent.")]
SkipBad = Annotated[bool, flag("--skip-bad", DATA, "Leave out images that are damaged, too large or no images.")]
Device = Annotated[str, value("--device", "NAME", TRAINING, "auto, cpu, cuda or cuda:N.", complete=completion.devices)]
Json = Annotated[bool, flag("--json", OUTPUT, "Print one JSON document instead of a table.")]
Threads = Annotated[int, value("--threads", "N", ENGINE, "CPU threads of one run; 0 lets the engine choose.")]
Form = Annotated[
    str, value("--form", "NAME", ENGINE, "Graphs to use: auto, shared or merged.", complete=completion.forms)
]
ServedTasks = Annotated[
    str | None,
    value("--adapters", "TASKS", DATA, "Tasks of the bundle, comma-separated.", ALL_TASKS, completion.served_tasks),
]
TrainedTasks = Annotated[
    str | None,
    value("--adapters", "TASKS", DATA, "Trained tasks, comma-separated.", ALL_TASKS, completion.trained_tasks),
]
Rank = Annotated[int, value("--rank", "N", ADAPTER, "Width of every adapter.")]
AtRank = Annotated[
    int | None,
    value("--rank", "N", ADAPTER, "Cut nested adapters that are wider to this rank.", "as they were trained"),
]
Ship = Annotated[
    str,
    value(
        "--ship",
        "NAME",
        ADAPTER,
        "auto for what training chose, else adapter, full or head (the tuned probe alone).",
        complete=completion.candidates,
    ),
]
ImageSize = Annotated[
    str | None,
    value(
        "--image-size",
        "SIZE",
        ADAPTER,
        "Pixels of the images that the backbone takes: 224, or 224x448 (height x width).",
        "that of the adapters in --out on this backbone, else the backbone's own",
    ),
]
Config = Annotated[
    Path | None,
    value(
        "--config",
        "FILE",
        TRAINING,
        "YAML file of settings, as a training leaves it in report/recipe.yaml; options that are typed win.",
        "none",
    ),
]
AllowRandom = Annotated[bool, typer.Option("--allow-random-backbone", hidden=True)]


def split_names(text: str | None, known: Iterable[str]) -> list[str] | None:
    """Return the names of a comma-separated list, or None when nothing was given.

    Raises:
        UsageError: a list without a name in it; the known names are given.
    """
    if text is None:
        return None
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise UsageError(f"--adapters names no task; name one or more of {', '.join(known)}, or leave it out")
    return names


def candidate(ship: str) -> str | None:
    """Return the candidate that --ship names, None for the one that training chose.

    Raises:
        UsageError: there is none of that name.
    """
    from adaptertune_deploy.core.adapter.folder import FULL, SHIPS

    known = ("auto", *SHIPS, FULL)
    if ship not in known:
        raise UsageError(f"--ship: no candidate '{ship}', only {', '.join(known)}.{did_you_mean(ship, known)}")
    return None if ship == "auto" else ship


def at_rank(rank: int | None) -> int | None:
    """Return the rank to cut nested adapters to, None for no cut.

    Raises:
        UsageError: none that there could be.
    """
    if rank is not None and rank < 1:
        raise UsageError(f"--rank {rank}: expected a whole number from 1; for the head alone: --ship head")
    return rank


def image_size(text: str | None) -> tuple[int, int] | None:
    """Return (height, width) of an image size as it is typed: one number for a square, or two with an x between.

    Raises:
        UsageError: anything else, or a side that no backbone takes.
    """
    from adaptertune_deploy.core.spec import MAX_SIDE

    if text is None:
        return None
    found = re.fullmatch(r"([0-9]{1,9})(?:[xX]([0-9]{1,9}))?", text.strip())
    size = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not all(0 < side <= MAX_SIDE for side in size):
        raise UsageError(
            f"--image-size {text:.60}: expected pixels from 1 to {MAX_SIDE}, as 224 or 224x448 (height x width)"
        )
    return size


def check_at_least(option: str, value: int, least: int) -> None:
    """Raise UsageError when a number is too small."""
    if value < least:
        raise UsageError(f"{option} {value}: expected a whole number from {least}")


def check_form(form: str) -> None:
    """Raise UsageError when there is no form of that name."""
    from adaptertune_deploy.serve.sessions.forms import FORMS

    if form not in FORMS:
        raise UsageError(f"--form: no form '{form}', only {', '.join(FORMS)}.{did_you_mean(form, FORMS)}")
