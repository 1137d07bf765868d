"""Options that several commands share, spelled once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

AdaptersDir = Annotated[Path, typer.Option("--adapters-dir", help="Folder that holds the adapter folders.")]
Bundle = Annotated[Path, typer.Option("--bundle", help="Folder that atd export wrote.")]
DataDir = Annotated[
    Path | None, typer.Option("--data-dir", help="Where the dataset lies, or is downloaded to. [default: data/DATASET]")
]
AllowMissing = Annotated[
    bool, typer.Option("--allow-missing", help="Skip images that the dataset lists and the disk lacks.")
]
Weights = Annotated[
    Path | None, typer.Option("--weights", help="The backbone's weights, for machines without a network.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")]
Provider = Annotated[str, typer.Option("--provider", help="auto, cpu or cuda; a named one is never replaced.")]
Threads = Annotated[int, typer.Option("--threads", help="CPU threads of one run; 0 lets the engine choose.", min=0)]
Form = Annotated[str, typer.Option("--form", help="auto, shared or merged: which graphs of the bundle to use.")]
TaskList = Annotated[
    str | None, typer.Option("--adapters", help="Tasks, comma-separated: pets,flowers. [default: all of them]")
]


def split_names(text: str | None) -> list[str] | None:
    """Return the names of a comma-separated list, or None when nothing was given."""
    return [name.strip() for name in text.split(",") if name.strip()] if text is not None else None
